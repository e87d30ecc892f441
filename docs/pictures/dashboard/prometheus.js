// What a panel asks, and the answers as Grafana's data frames.
import { dateTime, FieldType, toDataFrame } from '@grafana/data';

const seconds = Math.floor(Date.now() / 1000);
const span = Number(new URLSearchParams(location.search).get('span') ?? 120);
const [from, to] = [dateTime((seconds - span) * 1000), dateTime(seconds * 1000)];

/** The time that is shown: the last `span` seconds. */
export const range = { from, to, raw: { from, to } };

// Every variable at "All"; the intervals suit a scrape a second.
const variables = {
  __rate_interval: '10s', __interval: '2s', __range: `${span}s`,
  instance: '.+', provider: '.*', app: '.*', receiver: '.*', token: '.*',
};

/** An expression with its variables filled in, the longest names first. */
function filled(expression) {
  const names = Object.keys(variables).sort((a, b) => b.length - a.length);
  return names.reduce((text, name) => text.replaceAll(`$${name}`, variables[name]), expression);
}

async function get(path, parameters) {
  const answer = await (await fetch(`/api/v1/${path}?${new URLSearchParams(parameters)}`)).json();
  if (answer.status !== 'success') throw new Error(`${parameters.query}: ${answer.error}`);
  return answer.data.result;
}

/** The frames of one query. `alone`: the panel has no other. */
export async function frames(target, alone) {
  const query = filled(target.expr);
  const series = target.instant
    ? await get('query', { query, time: seconds })
    : await get('query_range', { query, start: seconds - span, end: seconds, step: Math.max(1, Math.round(span / 200)) });
  return target.format === 'table' ? table(target, series, alone) : series.map((one) => line(target, one));
}

function table(target, series, alone) {
  if (series.length === 0) return [];
  const labels = [...new Set(series.flatMap((one) => Object.keys(one.metric)))].sort();
  return [toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: series.map((one) => one.value[0] * 1000) },
      ...labels.map((name) => ({ name, type: FieldType.string, values: series.map((one) => one.metric[name] ?? '') })),
      { name: alone ? 'Value' : `Value #${target.refId}`, type: FieldType.number, values: series.map((one) => Number(one.value[1])) },
    ],
  })];
}

function line(target, { metric, values, value }) {
  const points = values ?? [value];
  const legend = target.legendFormat?.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => metric[name] ?? '');
  return toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: points.map((point) => point[0] * 1000) },
      { name: 'Value', type: FieldType.number, labels: metric, config: { displayNameFromDS: legend }, values: points.map((point) => Number(point[1])) },
    ],
  });
}
