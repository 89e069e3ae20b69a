// Opens a page of the console in so many browsers, each with a session of its own, says so, and closes them when its input ends.
//
//   node console_open.mjs NODE_MODULES BROWSER URL COUNT
import { createRequire } from "node:module";

const [modules, executablePath, url, count] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/`)("playwright-core");
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
for (let number = 0; number < Number(count); number += 1) {
  const page = await (await browser.newContext()).newPage();
  const answer = await page.goto(url, { waitUntil: "load" });
  if (!answer.ok()) throw new Error(`${url}: ${answer.status()}`);
}
console.log("open");
process.stdin.resume();
await new Promise((closed) => process.stdin.on("end", closed));
await browser.close();
