// A certified OpenID provider (the npm package oidc-provider) as a token endpoint over TLS.
//
//   node oidc_provider.mjs MODULES PORT CERTIFICATE KEY CLIENTS
//
// MODULES is the node_modules directory that contains the package, and CLIENTS a JSON file:
// [{id, secret, method, seconds}].
// Prints one JSON line for each token request, before the response is sent:
// {client, basic, status, error, scope, resource}.
// `/refuses-basic/token` is the same endpoint, but this script makes it refuse HTTP Basic; the
// provider handles all other requests.

import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, port, certificate, key, clientsFile] = process.argv.slice(2);
const require = createRequire(resolve(modules, "of-the-peers.cjs"));
const { Provider } = await import(pathToFileURL(require.resolve("oidc-provider")));
const clients = JSON.parse(readFileSync(clientsFile, "utf8"));
const seconds = (id) => clients.find((client) => client.id === id).seconds;

const provider = new Provider(`https://localhost:${port}`, {
  clients: clients.map(({ id, secret, method }) => ({
    client_id: id,
    client_secret: secret,
    token_endpoint_auth_method: method,
    grant_types: ["client_credentials"],
    redirect_uris: [],
    response_types: [],
    scope: "items:read items:write",
  })),
  scopes: ["items:read", "items:write"],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource, client) => ({
        scope: "items:read",
        audience: resource,
        accessTokenFormat: "opaque",
        accessTokenTTL: seconds(client.clientId),
      }),
    },
  },
  ttl: { ClientCredentials: (_, __, client) => seconds(client.clientId) },
});

provider.use(async (ctx, next) => {
  await next();
  if (ctx.path === "/token") {
    const params = ctx.oidc?.params ?? {};
    console.log(JSON.stringify({
      client: ctx.oidc?.client?.clientId ?? null,
      basic: ctx.get("authorization").startsWith("Basic "),
      status: ctx.status,
      error: ctx.body?.error ?? null,
      scope: params.scope ?? null,
      resource: params.resource ?? null,
    }));
  }
});

const provide = provider.callback();

function serve(request, response) {
  const refusesBasic = request.url === "/refuses-basic/token";
  if (refusesBasic && request.headers.authorization !== undefined) {
    console.log(JSON.stringify({ client: null, basic: true, status: 401, error: "invalid_client", scope: null, resource: null }));
    response.writeHead(401, { "content-type": "application/json", "www-authenticate": 'Basic realm="none"' });
    response.end(JSON.stringify({ error: "invalid_client", error_description: "send the credentials in the body" }));
    return;
  }
  if (refusesBasic) request.url = "/token";
  provide(request, response);
}

createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, serve).listen(Number(port), "127.0.0.1");
