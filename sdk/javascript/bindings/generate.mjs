// Writes the type declarations of the host's interfaces, for editors and `tsc`; componentize-js makes the bindings
// themselves anew for each component. Run `node bindings/generate.mjs` after a change of wit/.
// An argument names another folder to write to.
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { $init, generateTypes } from '../node_modules/@bytecodealliance/jco-transpile/vendor/js-component-bindgen-component.js';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const WIT = path.join(HERE, '../../../wit');
const WORLD = `package pie:runner;
world program {
  include pie:inferlet/inferlet-javascript;
  import pie:ext/source;
  export wasi:http/incoming-handler@0.2.4;
}
`;
const HEADER = '// Generated from wit/ by `node bindings/generate.mjs`; do not edit.\n';
const PACKAGE = /^(?:\/\/\/.*\n)*package ([^;]+);\n/m;

/** All packages as one text: the generator cannot read folders everywhere. */
async function source() {
  const packages = new Map();
  const files = [path.join(WIT, 'inferlet.wit')];
  for (const folder of (await readdir(path.join(WIT, 'deps'))).sort()) {
    const names = (await readdir(path.join(WIT, 'deps', folder))).sort();
    files.push(...names.map((name) => path.join(WIT, 'deps', folder, name)));
  }
  for (const file of files) {
    const text = await readFile(file, 'utf8');
    const folder = path.dirname(file);
    const entry = packages.get(folder) ?? { name: undefined, body: '' };
    entry.name ??= PACKAGE.exec(text)?.[1];
    entry.body += text.replace(PACKAGE, '');
    packages.set(folder, entry);
  }
  const nested = [...packages.values()].map(({ name, body }) => `package ${name} {\n${body}\n}\n`);
  return WORLD + nested.join('');
}

await $init;
const made = generateTypes('program', {
  wit: { tag: 'source', val: await source() },
  world: 'program',
  features: { tag: 'list', val: [] },
  guest: true,
  tlaCompat: false,
  flagsAsBigint: false,
  variantsInlineCases: true,
  useNamespaceObjects: false,
  enumValuesScreamingSnakeCase: false,
});
const output = process.argv[2] ?? path.join(HERE, 'interfaces');
await rm(output, { recursive: true, force: true });
await mkdir(output);
for (const [name, data] of made.filter(([name]) => name.startsWith('interfaces/'))) {
  const text = new TextDecoder().decode(data).replace(/[ \t]+$/gm, '');
  await writeFile(path.join(output, path.basename(name)), HEADER + text);
}
