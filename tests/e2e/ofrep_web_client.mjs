// Follows a flag through the published provider of browsers: node ofrep_web_client.mjs BASE_URL KEY prints its value,
// and again after each change that the provider is told of. It never polls. Packages: from NODE_MODULES.
import { createRequire } from "node:module";

const require = createRequire(process.env.NODE_MODULES + "/");
globalThis.EventSource = require("eventsource").EventSource; // a browser has its own
const { OpenFeature, ProviderEvents } = require("@openfeature/web-sdk");
const { OFREPWebProvider } = require("@openfeature/ofrep-web-provider");

const [baseUrl, key] = process.argv.slice(2);
const headers = [["Authorization", `Bearer ${key}`]];
await OpenFeature.setContext({ targetingKey: "user-1" });
await OpenFeature.setProviderAndWait(new OFREPWebProvider({ baseUrl, headers, cacheMode: "disabled" }));
const client = OpenFeature.getClient();
const say = () => console.log(client.getStringValue("told", "none"));
client.addHandler(ProviderEvents.ConfigurationChanged, say);
say();
