// One call through @alicloud/pop-core: node pop.mjs ENDPOINT KEY SECRET METHOD ACTION PARAMS, with PARAMS in JSON.
// Prints {"answer": …} or {"code": …, "name": …, "message": …}.
import { createRequire } from "node:module";

const require = createRequire(`${process.env.POP_CORE}/`);
const { RPCClient } = require("@alicloud/pop-core");
const [endpoint, accessKeyId, accessKeySecret, method, action, params] = process.argv.slice(2);
const client = new RPCClient({ endpoint, accessKeyId, accessKeySecret, apiVersion: "2018-01-01" });
try {
  const answer = await client.request(action, JSON.parse(params), { method, timeout: 20000 });
  console.log(JSON.stringify({ answer, numbers: numbers(answer) }));
} catch (error) {
  console.log(JSON.stringify({ code: error.code, name: error.name, message: error.message, data: error.data }));
}

// The kinds of the values that should be numbers: longer ones become objects.
function numbers(answer) {
  return Object.entries(answer).filter(([name]) => name.endsWith("Id")).map(([name, value]) => [name, typeof value]);
}
