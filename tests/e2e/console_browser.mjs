// Opens every page of the console in a headless Chromium and prints what was found, one JSON document.
//
//   node console_browser.mjs NODE_MODULES BROWSER '{"base": "http://localhost:1/console", "pages": ["now"], "pictures": ""}'
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [modules, browserPath, given] = process.argv.slice(2);
const { base, pages, pictures, looks = 3 } = JSON.parse(given);
const require = createRequire(`${modules}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const LOOKS = [["light", 1280], ["dark", 1280], ["light", 360]];
const origin = new URL(base).origin;

const browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox", "--disable-gpu"] });
const found = { errors: [], elsewhere: [], violations: [], wide: [], bytes: {}, silent: [], keyboard: "" };

async function open(context, path) {
  const page = await context.newPage();
  page.setDefaultTimeout(90_000);
  page.on("console", (line) => { if (line.type() === "error") found.errors.push(`${path}: ${line.text()}`); });
  page.on("pageerror", (error) => found.errors.push(`${path}: ${error.message}`));
  page.on("request", (request) => { if (new URL(request.url()).origin !== origin) found.elsewhere.push(request.url()); });
  return page;
}

for (const [colorScheme, width] of LOOKS.slice(0, looks)) {
  const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme });
  for (const path of pages) {
    const page = await open(context, path);
    const session = await context.newCDPSession(page);
    let bytes = 0;
    await session.send("Network.enable");
    await session.send("Network.setCacheDisabled", { cacheDisabled: true });
    session.on("Network.loadingFinished", (done) => { bytes += done.encodedDataLength; });
    await page.goto(`${base}/${path}`, { waitUntil: "load" });
    await page.waitForFunction(() => !document.querySelector(".htmx-request"));
    found.bytes[path] = Math.max(found.bytes[path] ?? 0, bytes);
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
    for (const one of violations) {
      if (["serious", "critical"].includes(one.impact)) {
        found.violations.push(`${path} (${colorScheme}, ${width}): ${one.id}: ${one.nodes[0].html.slice(0, 200)}`);
      }
    }
    if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) found.wide.push(`${path} (${width})`);
    if (pictures) await page.screenshot({ path: `${pictures}/${path.split(/[?/]/).join("-")}-${colorScheme}-${width}.png` });
    await page.close();
  }
  await context.close();
}

const plain = await browser.newContext({ javaScriptEnabled: false });
for (const path of pages) {
  const page = await open(plain, path);
  await page.goto(`${base}/${path}`, { waitUntil: "load" });
  if (!(await page.textContent("h1"))) found.silent.push(path);
  await page.close();
}

const context = await browser.newContext();
const page = await open(context, "keyboard");
await page.goto(`${base}/${pages[0]}`, { waitUntil: "load" });
await page.keyboard.press("Tab");
await page.keyboard.press("Enter");
found.keyboard = await page.evaluate(() => document.activeElement.id);
await browser.close();
console.log(JSON.stringify(found));
