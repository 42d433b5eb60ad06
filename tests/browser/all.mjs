// The tests of the files on the command line, in one process: Node's runner would start a process, and so a browser, for each.

import { pathToFileURL } from 'node:url';

for (const file of process.argv.slice(2)) await import(pathToFileURL(file));
