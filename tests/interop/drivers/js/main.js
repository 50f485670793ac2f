// The driver of ../README.md for Node.js. The argument says which client: firetiger or lakehouse.
'use strict';

const readline = require('node:readline');

const clients = { firetiger: './firetiger.js', lakehouse: './lakehouse.js' };
const { version, operations, open } = require(clients[process.argv[2]]);

class NotOffered extends Error {}

async function answer(opened, request) {
  const operation = operations[request.operation];
  try {
    if (operation === undefined) throw new NotOffered();
    return { value: await operation(opened, request) };
  } catch (failure) {
    return failure instanceof NotOffered ? {} : { error: String(failure) };
  }
}

// A 64-bit integer is a BigInt, which JSON has no way to write.
function asJson(_, value) {
  return typeof value === 'bigint' ? { $int: String(value) } : value;
}

async function main() {
  let opened;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    let answered;
    if (request.operation === 'open') {
      opened = await open(request);
      answered = { value: { version, operations: Object.keys(operations) } };
    } else {
      answered = await answer(opened, request);
    }
    process.stdout.write(`${JSON.stringify(answered, asJson)}\n`);
  }
  process.exit(0);
}

main().catch((failure) => {
  console.error(failure);
  process.exit(1);
});
