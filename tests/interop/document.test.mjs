// The API description and the API guide, as front-end developers use them: with Redocly, openapi-typescript and TypeScript.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { createConfig, lintFromString } from '@redocly/openapi-core';
import openapiTS, { astToString } from 'openapi-typescript';
import ts from 'typescript';

import { ALL_SHOPS, fetchJson } from '../browser/environment.mjs';

/** Rules of Redocly's recommended set that do not apply. */
const RULES = {
  // The API is a shop's own: its description grants no licence.
  'info-license': 'off',
  // The environment serves on localhost.
  'no-server-example.com': 'off',
};

/** Responses to requests that match no operation, so that no operation can refer to them. */
const WITHOUT_OPERATION = ['ExpectationFailed', 'MethodNotAllowed', 'NoSuchPath', 'NotImplemented'];

const GUIDE = new URL('../../src/openapi/README.md', import.meta.url);
const STRICT = { strict: true, noEmit: true, skipLibCheck: true, types: [], lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'] };
const MODULES = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ES2022, moduleResolution: ts.ModuleResolutionKind.Bundler };

/** What annotations alone can say, which the JavaScript of the guide does not have. */
const WITHOUT_ANNOTATIONS = { noImplicitAny: false, useUnknownInCatchVariables: false };

let directory, description;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'types-'));
  description = await fetchJson(`${ALL_SHOPS[0].api}/openapi.json`);
  writeFileSync(join(directory, 'api.ts'), astToString(await openapiTS(structuredClone(description))));
});

after(() => rmSync(directory, { recursive: true }));

/** Reads the declarations of the language once. */
const host = ts.createCompilerHost({});
const read = host.getSourceFile, files = new Map();
host.getSourceFile = (path, ...options) => {
  if (!files.has(path)) files.set(path, read(path, ...options));
  return files.get(path);
};

/** The errors of the compiler in a file beside the generated types. */
function compile(name, text, options) {
  const path = join(directory, name);
  writeFileSync(path, text);
  const program = ts.createProgram([path], { ...STRICT, ...MODULES, ...options }, host);
  return ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const line = file && file.text.slice(0, start).split('\n').length;
    return `${file?.fileName ?? ''}:${line}: ${file?.text.split('\n')[line - 1]}\n${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
  });
}

for (const { brand, api } of ALL_SHOPS) {
  test(`Redocly has nothing to say about the description of ${brand}`, async () => {
    const source = JSON.stringify(await fetchJson(`${api}/openapi.json`));
    const config = await createConfig({ extends: ['recommended'], rules: RULES });
    const problems = await lintFromString({ source, absoluteRef: '/openapi.json', config });
    const unused = WITHOUT_OPERATION.map((name) => `no-unused-components: #/components/responses/${name}`);
    assert.deepEqual(problems.map(({ ruleId, location }) => `${ruleId}: ${location[0].pointer}`).sort(), unused);
  });
}

/** The examples of a media type or a header. */
function* examplesOf({ example, examples }) {
  if (example !== undefined) yield example;
  for (const { value, $ref } of Object.values(examples ?? {})) {
    yield $ref ? description.components.examples[$ref.split('/').at(-1)].value : value;
  }
}

/** `[type, example]` of every JSON example of a request or a response. */
function* typedExamples() {
  const json = 'application/json';
  const inContent = function* (type, { content }) {
    for (const example of content?.[json] ? examplesOf(content[json]) : []) yield [`${type}['content']['${json}']`, example];
  };
  for (const [path, operations] of Object.entries(description.paths)) {
    for (const [method, { requestBody, responses }] of Object.entries(operations)) {
      const type = `paths['${path}']['${method}']`;
      if (requestBody) yield* inContent(`NonNullable<${type}['requestBody']>`, requestBody);
      for (const [status, response] of Object.entries(responses ?? {})) {
        if (!response.$ref) yield* inContent(`${type}['responses'][${status}]`, response);
      }
    }
  }
  for (const [name, response] of Object.entries(description.components.responses)) {
    yield* inContent(`components['responses']['${name}']`, response);
  }
}

test('every example of the description has its generated type', () => {
  const examples = [...typedExamples()];
  assert.ok(examples.length > 100, `${examples.length} examples`);
  const lines = examples.map(([type, example], index) => `const example${index}: ${type} = ${JSON.stringify(example)};`);
  const used = `export default [${examples.map((_, index) => `example${index}`)}];`;
  assert.deepEqual(compile('examples.ts', ["import type { components, paths } from './api';", ...lines, used].join('\n')), []);
});

test('the samples of the guide have the generated types', () => {
  const samples = [...readFileSync(GUIDE, 'utf8').matchAll(/<!-- run: (\w+) -->\n```js\n(.*?)\n```\n/gs)];
  const [[, first, call], ...rest] = samples;
  assert.equal(first, 'call');
  assert.ok(rest.length > 5);
  const untyped = /async function call\(method, path, body\)/;
  assert.match(call, untyped);
  assert.deepEqual(compile('call.ts', `${call}\nexport { call };`, WITHOUT_ANNOTATIONS), []);
  const typed = readFileSync(new URL('call.ts', import.meta.url), 'utf8');
  const code = rest.map(([, , sample]) => sample).join('\n');
  assert.ok(code.includes("currency: 'RUB'"));
  // Without the annotation it is any string.
  const program = typed + code.replace("currency: 'RUB'", "currency: 'RUB' as const");
  assert.deepEqual(compile('samples.ts', program, WITHOUT_ANNOTATIONS), []);
});
