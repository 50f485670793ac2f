// Values in the form of ../README.md, from the tables of apache-arrow.
'use strict';

const { DataType, IntervalUnit, Vector } = require('apache-arrow');

const SECOND = 1_000_000_000n;
// By the number of the unit: second, millisecond, microsecond, nanosecond.
const NS_PER_UNIT = [SECOND, 1_000_000n, 1_000n, 1n];
const MS_PER_DAY = 86_400_000;

function result(table) {
  const rows = [];
  for (const batch of table.batches) {
    for (let row = 0; row < batch.numRows; row++) {
      rows.push(batch.data.children.map((column) => valueOf(column, row)));
    }
  }
  return { columns: table.schema.fields.map(({ name }) => name), rows };
}

function onlyValue({ rows }) {
  if (rows.length !== 1 || rows[0].length !== 1) throw new Error(`${rows.length} rows instead of one value`);
  return rows[0][0];
}

// Times and decimals are read from the buffer: the getter gives milliseconds as a double, and digits without a point.
function valueOf(column, row) {
  const { type } = column;
  if (DataType.isNull(type) || !column.getValid(row)) return null;
  if (DataType.isTimestamp(type)) return { $timestamp: momentText(nanoseconds(column, row)) };
  if (DataType.isTime(type)) return { $time: momentText(nanoseconds(column, row)).slice(11) };
  if (DataType.isDuration(type)) return { $duration: nanoseconds(column, row) };
  if (DataType.isDate(type)) return { $date: dateText(column, row) };
  if (DataType.isDecimal(type)) return { $decimal: decimalText(column, row) };
  if (DataType.isDictionary(type)) return valueOfDictionary(column, row);
  if (DataType.isFixedSizeList(type)) return range(row * type.listSize, (row + 1) * type.listSize, column.children[0]);
  if (DataType.isList(type) || DataType.isLargeList?.(type)) return range(...offsets(column, row), column.children[0]);
  if (DataType.isMap(type)) return mapOf(column, row);
  if (DataType.isStruct(type)) {
    return Object.fromEntries(type.children.map(({ name }, number) => [name, valueOf(column.children[number], row)]));
  }
  if (DataType.isInterval(type)) return intervalOf(column, row);
  return plain(new Vector([column]).get(row));
}

function plain(value) {
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString('hex') };
  if (typeof value === 'number' && !Number.isFinite(value)) return { $double: String(value) };
  return value;
}

function valueOfDictionary(column, row) {
  return plain(new Vector([column]).get(row));
}

function intervalOf(column, row) {
  const value = new Vector([column]).get(row);
  if (column.type.unit !== IntervalUnit.MONTH_DAY_NANO) throw new Error('an interval of another unit');
  return { $interval: Array.from(value) };
}

function offsets(column, row) {
  return [Number(column.valueOffsets[row]), Number(column.valueOffsets[row + 1])];
}

function range(start, end, items) {
  return Array.from({ length: end - start }, (_, number) => valueOf(items, start + number));
}

function mapOf(column, row) {
  const entries = range(...offsets(column, row), column.children[0]);
  return Object.fromEntries(entries.map((entry) => Object.values(entry)));
}

function nanoseconds({ values, type }, row) {
  return BigInt(values[row]) * NS_PER_UNIT[type.unit];
}

function momentText(ns) {
  const fraction = ((ns % SECOND) + SECOND) % SECOND;
  const text = new Date(Number((ns - fraction) / 1_000_000n)).toISOString().slice(0, 19);
  return fraction === 0n ? text : `${text}.${String(fraction).padStart(9, '0').replace(/0+$/, '')}`;
}

function dateText({ values, type }, row) {
  const ms = type.unit === 0 ? Number(values[row]) * MS_PER_DAY : Number(values[row]);
  return new Date(ms).toISOString().slice(0, 10);
}

function decimalText({ values, type, stride }, row) {
  let digits = 0n;
  for (let word = stride - 1; word >= 0; word--) digits = (digits << 32n) | BigInt(values[row * stride + word]);
  digits = BigInt.asIntN(32 * stride, digits);
  const text = String(digits < 0n ? -digits : digits).padStart(type.scale + 1, '0');
  const point = text.length - type.scale;
  const sign = digits < 0n ? '-' : '';
  return type.scale === 0 ? sign + text : `${sign}${text.slice(0, point)}.${text.slice(point)}`;
}

module.exports = { onlyValue, result };
