// flagd's published evaluator for ofrep_node.mjs. Packages from FLAGD_NODE_MODULES.
import { createRequire } from "node:module";

const { FlagdCore } = createRequire(process.env.FLAGD_NODE_MODULES + "/")("@openfeature/flagd-core");
const nobody = () => {};
const quiet = { error: nobody, warn: nobody, info: nobody, debug: nobody };

const shown = (key, { value, reason, variant }) => ({ key, value, reason, variant });

export function open(definitions) {
  const core = new FlagdCore(undefined, quiet);
  core.setConfigurations(definitions);
  const types = new Map(); // of each flag, as the evaluator has to be asked by it
  for (const [key, { variants }] of Object.entries(JSON.parse(definitions).flags))
    types.set(key, typeof Object.values(variants)[0]);
  return {
    has: (key) => types.has(key),
    one: (key, context) => shown(key, core.resolve(types.get(key), key, undefined, context, quiet)),
    all: (context) => core.resolveAll(context, quiet).map((each) => shown(each.flagKey, each)),
  };
}
