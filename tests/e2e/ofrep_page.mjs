// Runs in a browser. Asks the test what to do (GET /next), does it through the published provider, and says what came
// of it (POST /said), until it is told nothing more. See `browser.py`.
import { OpenFeature, ProviderEvents } from "@openfeature/web-sdk";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";

const requests = []; // of the provider, with what a page of another origin may read of the answers
const told = []; // of its events: what happened, and to which flags
const client = OpenFeature.getClient();
const hear = (event) => client.addHandler(event, ({ flagsChanged }) => told.push([event, flagsChanged ?? []]));
[ProviderEvents.ConfigurationChanged, ProviderEvents.Stale].forEach(hear);

async function fetchNoted(request, settings) {
  const response = await fetch(request, settings);
  const { status, headers } = response;
  const sent = { query: new URL(request.url).search, ifNoneMatch: request.headers.get("If-None-Match") };
  requests.push({ ...sent, status, etag: headers.get("ETag"), retryAfter: headers.get("Retry-After") });
  return response;
}

const does = {
  async open({ context, ...options }) {
    await OpenFeature.clearProviders();
    await OpenFeature.setContext(context);
    const settings = { fetchImplementation: fetchNoted, cacheMode: "disabled", ...options };
    await OpenFeature.setProviderAndWait(new OFREPWebProvider(settings));
  },
  context: (context) => OpenFeature.setContext(context),
  ask: (questions) => questions.map(([type, key, fallback]) => client[`get${type}Details`](key, fallback)),
  requests: () => requests.splice(0),
  told: () => told.splice(0),
};

for (;;) {
  const response = await fetch("/next");
  if (response.status !== 200) break;
  const [name, argument] = await response.json();
  let said;
  try {
    said = { value: (await does[name](argument)) ?? null };
  } catch (error) {
    said = { error: `${error.name}: ${error.message}` };
  }
  await fetch("/said", { method: "POST", body: JSON.stringify(said) });
}
