// BullMQ's side of the bench: `node side.mjs send|probe|work|about`, the same commands and answers as ../../side.py.
import dgram from 'node:dgram';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { Queue, Worker } from 'bullmq';

const CONCURRENCY = 100;
const SETTINGS = `concurrency=${CONCURRENCY}; completed jobs kept (default)`;
const PAYLOAD = { userId: 'u_1234567890', plan: 'pro', email: 'someone@example.org', seats: 12, trial: true };
const PARTS = 10;
const WARM_SENDS = 50;
const WARM_PROBES = 20;
const PROBE_TIMEOUT_MS = 5000;

const address = new URL(process.env.BENCH_URL ?? 'redis://127.0.0.1:6379');
const connection = { host: address.hostname, port: Number(address.port), maxRetriesPerRequest: null };
const now = () => process.hrtime.bigint(); // the system's monotonic clock, as Python's time.monotonic_ns()

function work() {
  const jobs = Number(process.env.BENCH_JOBS ?? 0);
  const runner = Number(process.env.BENCH_PORT ?? 0);
  const toldAt = new Set([0]);
  for (let part = 1; part <= PARTS; part++) toldAt.add(Math.floor((jobs * part) / PARTS) - 1);
  const socket = dgram.createSocket('udp4');
  const tell = (port, what) => socket.send(JSON.stringify(what), port, '127.0.0.1');
  let number = 0;
  const noop = async (job) => {
    if (job.data.port !== undefined) {
      tell(job.data.port, { ns: Number(now()), at: job.data.at });
      return;
    }
    if (toldAt.has(number)) tell(runner, { ns: Number(now()), done: number + 1, pid: process.pid });
    number += 1;
  };
  const worker = new Worker('bench', noop, { connection, concurrency: CONCURRENCY });
  process.on('SIGTERM', async () => {
    await worker.close();
    process.exit(0);
  });
}

async function sendOneByOne(queue, count) {
  const begun = now();
  for (let i = 0; i < count; i++) await queue.add('noop', PAYLOAD);
  return Number(now() - begun) / 1e9;
}

async function sendInBatches(queue, count, batch) {
  const begun = now();
  for (let sent = 0; sent < count; sent += batch) {
    const size = Math.min(batch, count - sent);
    await queue.addBulk(Array.from({ length: size }, () => ({ name: 'noop', data: PAYLOAD })));
  }
  return Number(now() - begun) / 1e9;
}

async function send({ one, many, batch }) {
  const queue = new Queue('bench', { connection });
  const warm = Math.min(one, WARM_SENDS);
  await sendOneByOne(queue, warm);
  const oneS = await sendOneByOne(queue, one);
  const manyS = await sendInBatches(queue, many, batch);
  await queue.close();
  return { one, one_s: oneS, many, many_s: manyS, sent: warm + one + many };
}

async function probe({ count, pause: seconds }) {
  const queue = new Queue('bench', { connection });
  const answers = dgram.createSocket('udp4');
  await new Promise((resolve) => answers.bind(0, '127.0.0.1', resolve));
  const { port } = answers.address();
  const waiting = new Map();
  answers.on('message', (text) => {
    const answer = JSON.parse(text);
    waiting.get(answer.at)?.(answer.ns);
  });
  const ms = [];
  let lost = 0;
  for (let i = 0; i < WARM_PROBES + count; i++) {
    await pause(seconds * 1000 * (0.5 + Math.random()));
    const at = Number(now());
    const answer = new Promise((resolve) => waiting.set(at, resolve));
    await queue.add('noop', { ...PAYLOAD, port, at });
    const begun = await Promise.race([answer, pause(PROBE_TIMEOUT_MS, null, { ref: false })]);
    waiting.delete(at);
    if (begun === null) lost += 1;
    else ms.push((begun - at) / 1e6);
  }
  answers.close();
  await queue.close();
  return { ms: ms.slice(WARM_PROBES), lost };
}

function about() {
  const version = (name) =>
    JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url), 'utf8')).version;
  return {
    settings: SETTINGS,
    runtime: `Node ${process.versions.node}`,
    versions: { bullmq: version('bullmq'), ioredis: version('ioredis') },
  };
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    one: { type: 'string', default: '0' },
    many: { type: 'string', default: '0' },
    batch: { type: 'string', default: '500' },
    count: { type: 'string', default: '0' },
    pause: { type: 'string', default: '0.005' },
  },
});
const options = Object.fromEntries(Object.entries(values).map(([name, text]) => [name, Number(text)]));
switch (positionals[0]) {
  case 'work':
    work();
    break;
  case 'send':
    console.log(JSON.stringify(await send(options)));
    break;
  case 'probe':
    console.log(JSON.stringify(await probe(options)));
    break;
  default:
    console.log(JSON.stringify(about()));
}
