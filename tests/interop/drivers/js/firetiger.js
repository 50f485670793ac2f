// @firetiger-oss/flight-sql-client: Flight SQL in JavaScript, over grpc-js.
'use strict';

const { FlightSQLClient } = require('@firetiger-oss/flight-sql-client');
const { onlyValue, result } = require('./values.js');

function client(address, { token, user, password }) {
  const [host, port] = address.split(':');
  return new FlightSQLClient({ host, port: Number(port), plaintext: true, token, username: user, password });
}

async function open({ address, token }) {
  const connection = client(address, { token });
  await connection.connect();
  return { address, connection };
}

async function query({ connection }, { sql }) {
  return result(await connection.execute(sql));
}

const operations = {
  async connect({ address }, credential) {
    const connection = client(address, credential);
    await connection.connect();
    return onlyValue(result(await connection.execute('SELECT 1')));
  },
  catalogs: ({ connection }) => connection.getCatalogs(),
  async schemas({ connection }) {
    const found = await connection.getSchemas();
    return found.map(({ catalog, schema }) => [catalog, schema]);
  },
  async tables({ connection }, { schema }) {
    const found = await connection.getTables(undefined, schema);
    return found.map(({ tableName, tableType }) => [tableName, tableType]);
  },
  table_types: ({ connection }) => connection.getTableTypes(),
  async keys({ connection }, { table }) {
    const found = await connection.getPrimaryKeys('alula', 'public', table);
    return found.map(({ columnName }) => columnName);
  },
  query,
  async shape({ connection }, { sql }) {
    const schema = await connection.getQuerySchema(sql);
    return schema.fields.map(({ name }) => name);
  },
  async concurrent(opened, { sql, times }) {
    const asked = Array.from({ length: times }, (_, number) => query(opened, { sql: sql.replace('{}', number) }));
    return (await Promise.all(asked)).map(onlyValue);
  },
};

module.exports = { version: '1.1.1', operations, open };
