// The outcomes of cases, as the harness reads them: the name, a tab, and `yes`, or `no: ` and why.

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';

export const TEXT = 'Grüße aus 東京 🌊';
export const LARGE = 1_100_000;
export const env = process.env;
export const file = (variable) => readFileSync(env[variable]);
export const requestId = () => randomUUID();

export function expect(condition, what) {
  if (!condition) throw new Error(what);
}

/** Fails unless an export had each message once. `manifest` has the number of rows of each table. */
export function expectAllMessages(ids, manifest) {
  const stored = Number(manifest.exported.find(({ table }) => table === 'data.conversations').rows);
  expect(stored >= 200, `${stored} messages`);
  const different = new Set(ids).size;
  expect(ids.length === stored && different === stored, `${ids.length} messages, ${different} different, ${stored} stored`);
}

/** Calls the function of each case, and prints its outcome. */
export async function run(cases) {
  for (const [name, method] of Object.entries(cases)) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error('no answer within a minute')), 60_000);
    });
    try {
      await Promise.race([method(), late]);
      console.log(`${name}\tyes`);
    } catch (error) {
      console.log(`${name}\tno: ${String(error?.message ?? error).split(/\s+/).join(' ').slice(0, 160)}`);
    }
    clearTimeout(timer);
  }
}

/** Prints the versions of packages, which `package.json` pins. */
export function printVersion(...packages) {
  const { dependencies } = JSON.parse(readFileSync(new URL('package.json', import.meta.url)));
  const names = packages.map((name) => `${name} ${dependencies[name]}`);
  console.log(`version\t${names.join(', ')}, Node ${process.versions.node.split('.')[0]}`);
}
