// OFREP on node:http around a published evaluator, as small as it can be: what Fanion is measured beside.
//
//   node ofrep_node.mjs PORT FLAGS_FILE KEY ENGINE [ASKED]      ENGINE: flagd, growthbook (ofrep_ENGINE.mjs)
//
// One flag, all flags, and 304: its tag is made of the flags' file and the body as it came (Fanion reads the context and
// writes it canonically). Answers have the headers that Fanion's have. No limits on bodies, no other endpoint. ASKED: a
// file with a context and its answer, which an engine may need to be asked alike.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const [port, file, key, engine, asked] = process.argv.slice(2);
const definitions = readFileSync(file, "utf8");
const { open } = await import(`./ofrep_${engine}.mjs`);
const evaluator = open(definitions, asked);
const bearer = `Bearer ${key}`;
const PATH = "/ofrep/v1/evaluate/flags";

function one(name, context) {
  if (!evaluator.has(name))
    return [404, { key: name, errorCode: "FLAG_NOT_FOUND", errorDetails: "no such flag" }];
  return [200, evaluator.one(name, context)];
}

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
  return send(response, 200, { flags: evaluator.all(context) }, kept);
}

const digest = createHash("sha1").update(definitions).digest();
createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => answer(request, response, chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)));
}).listen(Number(port), "127.0.0.1");
