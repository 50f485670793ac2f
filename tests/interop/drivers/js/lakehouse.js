// @lakehouse-rs/flight-sql-client: the client of arrow-rs behind Node-API. It gives results as an Arrow IPC stream.
'use strict';

const { createFlightSqlClient } = require('@lakehouse-rs/flight-sql-client');
const { tableFromIPC } = require('apache-arrow');
const { onlyValue, result } = require('./values.js');

const LIMIT_MS = 10_000;

function client(address, { token, user, password }) {
  const [host, port] = address.split(':');
  const credential = { token, username: user, password };
  return createFlightSqlClient({ host, port: Number(port), tls: false, headers: [], ...credential });
}

async function open({ address, token }) {
  return { address, connection: await client(address, { token }) };
}

// A stream that ends with an error leaves the promise of this client unsettled for ever.
async function read(answered) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${LIMIT_MS} ms`)), LIMIT_MS);
  });
  try {
    return result(tableFromIPC(await Promise.race([answered, late])));
  } finally {
    clearTimeout(timer);
  }
}

const query = ({ connection }, { sql }) => read(connection.query(sql));

const operations = {
  async connect({ address }, credential) {
    const connection = await client(address, credential);
    return onlyValue(await read(connection.query('SELECT 1')));
  },
  async catalogs({ connection }) {
    return (await read(connection.getCatalogs())).rows.map(([name]) => name);
  },
  async schemas({ connection }) {
    return (await read(connection.getDbSchemas({}))).rows;
  },
  async tables({ connection }, { schema }) {
    const found = await read(connection.getTables({ dbSchemaFilterPattern: schema, includeSchema: false }));
    return found.rows.map(([, , name, type]) => [name, type]);
  },
  query,
  async concurrent(opened, { sql, times }) {
    const asked = Array.from({ length: times }, (_, number) => query(opened, { sql: sql.replace('{}', number) }));
    return (await Promise.all(asked)).map(onlyValue);
  },
};

module.exports = { version: '0.0.10', operations, open };
