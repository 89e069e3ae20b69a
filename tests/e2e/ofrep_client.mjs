// Reads flags through the published JavaScript provider: node ofrep_client.mjs BASE_URL KEY, questions on standard
// input as JSON, [{type, key, default, context}], details on standard output. Packages: from NODE_MODULES.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(process.env.NODE_MODULES + "/");
const { OpenFeature } = require("@openfeature/server-sdk");
const { OFREPProvider } = require("@openfeature/ofrep-provider");

const [baseUrl, key] = process.argv.slice(2);
const headers = [["Authorization", `Bearer ${key}`]];
await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl, headers }));
const client = OpenFeature.getClient();
const answers = [];
for (const { type, key, default: fallback, context } of JSON.parse(readFileSync(0, "utf8"))) {
  answers.push(await client[`get${type}Details`](key, fallback, context));
}
console.log(JSON.stringify(answers));
await OpenFeature.close();
