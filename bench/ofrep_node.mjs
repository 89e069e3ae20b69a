// OFREP on node:http around flagd's published evaluator, as small as it can be: what Fanion is measured beside.
//
//   node ofrep_node.mjs PORT FLAGS_FILE KEY      packages from FLAGD_NODE_MODULES
//
// One flag, all flags, and 304: its tag is made of the flags' file and the body as it came (Fanion reads the context and
// writes it canonically). Answers have the headers that Fanion's have. No limits on bodies, no other endpoint.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";

const require = createRequire(process.env.FLAGD_NODE_MODULES + "/");
const { FlagdCore } = require("@openfeature/flagd-core");

const [port, file, key] = process.argv.slice(2);
const definitions = readFileSync(file, "utf8");
const nobody = () => {};
const quiet = { error: nobody, warn: nobody, info: nobody, debug: nobody };
const core = new FlagdCore(undefined, quiet);
core.setConfigurations(definitions);
const bearer = `Bearer ${key}`;
const PATH = "/ofrep/v1/evaluate/flags";

const types = new Map(); // of each flag, as the evaluator has to be asked by it
for (const [name, { variants }] of Object.entries(JSON.parse(definitions).flags))
  types.set(name, typeof Object.values(variants)[0]);

const shown = (name, { value, reason, variant }) => ({ key: name, value, reason, variant });

function one(name, context) {
  const type = types.get(name);
  if (type === undefined) return [404, { key: name, errorCode: "FLAG_NOT_FOUND", errorDetails: "no such flag" }];
  return [200, shown(name, core.resolve(type, name, undefined, context, quiet))];
}

const all = (context) => ({ flags: core.resolveAll(context, quiet).map((each) => shown(each.flagKey, each)) });
const CORS = { "access-control-allow-origin": "*", "access-control-expose-headers": "etag, retry-after" };

function send(response, status, document, headers) {
  const body = Buffer.from(JSON.stringify(document));
  const sent = { "content-type": "application/json", "content-length": body.length, ...headers, ...CORS };
  response.writeHead(status, sent).end(body);
}

function answer(request, response, body) {
  if (request.headers.authorization !== bearer) return send(response, 401, { errorCode: "GENERAL" }, {});
  const { context } = JSON.parse(body);
  if (request.url !== PATH) {
    const [status, document] = one(decodeURIComponent(request.url.slice(PATH.length + 1)), context);
    return send(response, status, document, { "cache-control": "no-store" });
  }
  const etag = `"${createHash("sha1").update(digest).update(body).digest("hex")}"`;
  const kept = { etag, "cache-control": "private, no-cache" };
  if (request.headers["if-none-match"] === etag) return response.writeHead(304, { ...kept, ...CORS }).end();
  return send(response, 200, all(context), kept);
}

const digest = createHash("sha1").update(definitions).digest();
createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => answer(request, response, chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)));
}).listen(Number(port), "127.0.0.1");
