// GrowthBook's SDK for Node for ofrep_node.mjs, as a server uses it: one client, each person's attributes given with the
// question. Packages from GROWTHBOOK_NODE_MODULES. flagd's definitions (bench/ofrep_ratio.py) as GrowthBook's features:
// a rule forces a value; a split is an experiment, whose seed is chosen so that the one user who is asked for falls where
// flagd puts them (the two hash differently). Reasons and variants are named as flagd names them.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { GrowthBookClient } = createRequire(process.env.GROWTHBOOK_NODE_MODULES + "/")("@growthbook/growthbook");
const SEEDS = 100;

const condition = ({ and: [isIn, equals] }) => ({
  [isIn.in[0].var]: { $in: isIn.in[1] },
  [equals["=="][0].var]: equals["=="][1],
});

function rule({ variants, targeting }, seed) {
  const [when, then] = targeting.if;
  if (typeof then === "string") return { id: then, condition: condition(when), force: variants[then] };
  const names = then.fractional.map(([name]) => name);
  const weights = then.fractional.map(([, weight]) => weight / 100);
  const meta = names.map((key) => ({ key }));
  const variations = names.map((name) => variants[name]);
  return { condition: condition(when), variations, weights, meta, hashAttribute: "targetingKey", hashVersion: 2, seed };
}

function feature(flag, seed) {
  const defaultValue = flag.variants[flag.defaultVariant];
  return flag.targeting.if ? { defaultValue, rules: [rule(flag, seed)] } : { defaultValue };
}

function shown(key, { value, source, ruleId, experimentResult }, { defaultVariant, targeting }) {
  const variant = experimentResult?.key ?? (ruleId || defaultVariant);
  const reason = source === "defaultValue" && !targeting.if ? "STATIC" : "TARGETING_MATCH";
  return { key, value, reason, variant };
}

export function open(definitions, asked) {
  const { flags } = JSON.parse(definitions);
  const { context, answer } = JSON.parse(readFileSync(asked, "utf8"));
  const features = {};
  for (const { key, variant } of answer.flags)
    for (let seed = 0; seed < SEEDS; seed++) {
      features[key] = feature(flags[key], String(seed));
      const alone = new GrowthBookClient().initSync({ payload: { features: { [key]: features[key] } } });
      if (shown(key, alone.evalFeature(key, { attributes: context }), flags[key]).variant === variant) break;
    }
  const client = new GrowthBookClient().initSync({ payload: { features } });
  const keys = Object.keys(features);
  const one = (key, context) => shown(key, client.evalFeature(key, { attributes: context }), flags[key]);
  return {
    has: (key) => key in features,
    one,
    all: (context) => keys.map((key) => one(key, context)),
  };
}
