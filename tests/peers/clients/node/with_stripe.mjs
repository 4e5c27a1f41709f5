// stripe for Node, whose client takes a host and a port, and no path. The case is therefore the
// identifier of the customer.
import Stripe from "stripe";
import { base as root, key, run, size } from "./cases.mjs";

function clientOf(base) {
  const apiKey = key;
  // docs
  const { hostname, port } = new URL(base);
  const stripe = new Stripe(apiKey, { protocol: "http", host: hostname, port });
  // end
  return stripe;
}
const customer = (name) => async () => (await clientOf(root).customers.retrieve(name)).name;
const refund = async () => (await clientOf(root).refunds.create({ charge: "ch_1" })).status;

await run({
  request: customer("request"), forbidden: refund, large: customer("large"), limited: customer("limited"),
  unavailable: customer("unavailable"), cut: customer("cut"),
});
