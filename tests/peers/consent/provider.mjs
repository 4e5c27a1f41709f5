// A certified OpenID provider (the npm package oidc-provider) for consents of people, over TLS:
// authorization code with PKCE, device flow, rotation of refresh tokens with detection of reuse,
// revocation, and `iss` in callbacks (RFC 9207).
//
//   node provider.mjs MODULES PORT CERTIFICATE KEY SECONDS
//
// MODULES is the node_modules directory that contains the package, and SECONDS the lifetime of an
// access token. The client `egressd` is public, and `egressd-secret` has a secret.
// `GET /me` is the API: it returns the account of the token as `{"sub": …}`.
// Prints one JSON line for each token request, before the response is sent:
// {client, grant, status, error, spent}, where `spent` is the hash of the refresh token.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, port, certificate, key, seconds] = process.argv.slice(2);
const require = createRequire(resolve(modules, "of-the-peers.cjs"));
const { Provider } = await import(pathToFileURL(require.resolve("oidc-provider")));

const client = (id, method, rest) => ({
  client_id: id,
  application_type: "native",
  token_endpoint_auth_method: method,
  grant_types: ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
  response_types: ["code"],
  // The port of a loopback URI may be any (RFC 8252 §7.3).
  redirect_uris: ["http://127.0.0.1/callback", "http://localhost/callback"],
  ...rest,
});

const issuer = `https://localhost:${port}`;
const provider = new Provider(issuer, {
  clients: [client("egressd", "none"), client("egressd-secret", "client_secret_basic", { client_secret: "planted-client-secret-0123456789" })],
  findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
  cookies: { keys: ["of this test only"] },
  scopes: ["openid", "offline_access"],
  pkce: { required: () => true },
  issueRefreshToken: () => true,
  rotateRefreshToken: true,
  features: {
    devInteractions: { enabled: false },
    deviceFlow: { enabled: true },
    revocation: { enabled: true },
  },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  ttl: {
    AccessToken: Number(seconds),
    Grant: 86400,
    Interaction: 3600,
    RefreshToken: 86400,
    Session: 86400,
  },
});

provider.use(async (ctx, next) => {
  await next();
  if (ctx.path !== "/token") return;
  const { grant_type: grant, refresh_token: token } = ctx.oidc?.params ?? {};
  const spent = token === undefined ? null : createHash("sha256").update(token).digest("hex").slice(0, 16);
  console.log(JSON.stringify({
    client: ctx.oidc?.client?.clientId ?? null,
    grant: grant ?? null,
    status: ctx.status,
    error: ctx.body?.error ?? null,
    spent,
  }));
});

const page = (response, content) => {
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
  response.end(`<!DOCTYPE html><html lang="en"><title>Consent</title><body>${content}</body></html>`);
};

async function body(request) {
  let text = "";
  for await (const part of request) text += part;
  return new URLSearchParams(text);
}

// One page for login and consent: the person enters an account, without a password.
async function interact(request, response) {
  const { params } = await provider.interactionDetails(request, response);
  if (request.method !== "POST") {
    page(response, `<form method="post"><p>Access for ${params.client_id}</p><input name="account" value="ada">
      <button name="decision" value="approve">Allow</button><button name="decision" value="deny">Deny</button></form>`);
    return;
  }
  const form = await body(request);
  if (form.get("decision") !== "approve") {
    await provider.interactionFinished(request, response, { error: "access_denied" });
    return;
  }
  const accountId = form.get("account");
  const grant = new provider.Grant({ accountId, clientId: params.client_id });
  grant.addOIDCScope("openid offline_access");
  const grantId = await grant.save();
  await provider.interactionFinished(request, response, { login: { accountId, remember: false }, consent: { grantId } });
}

const provide = provider.callback();

function serve(request, response) {
  if (!request.url.startsWith("/interaction/")) {
    provide(request, response);
    return;
  }
  interact(request, response).catch((error) => {
    console.error(error);
    response.writeHead(400);
    response.end();
  });
}

createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, serve).listen(Number(port), "127.0.0.1");
