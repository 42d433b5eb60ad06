// Runs the given test files in one process: the test runner of Node would start a process, and so a browser, per file.

import { pathToFileURL } from 'node:url';

for (const file of process.argv.slice(2)) await import(pathToFileURL(file));
