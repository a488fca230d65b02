// An OIDC server for tests: discovery, key set and client credentials of the certified `oidc-provider`, with keys that rotate when told.
//
//   node server.mjs '{"port":1,"control":2,"ttl":60,"keys":"keys.json","issuer":"…","cert":"…","key":"…"}'
//
// `port` is what weir and clients see, over TLS when there is a certificate. `control` serves the same over plain HTTP, uncounted, and:
//   POST /test/rotate   a new key signs from now on, the others stay in the key set
//   POST /test/drop-old only the newest key stays
//   GET  /test/requests how often the discovery document, the key set and tokens were asked for on `port`

import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { Provider } from 'oidc-provider';

const { port, control, ttl, keys: keysFile, issuer, cert, key } = JSON.parse(process.argv[2]);
const groups = { 'orders-app': ['apps'], auditor: ['fraud-desk'] };

const newKey = () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: randomUUID() };
};

let keys = existsSync(keysFile) ? JSON.parse(readFileSync(keysFile)) : [newKey()];
let handler;
// A provider has its keys for life: other keys need another provider.
const build = () => {
  writeFileSync(keysFile, JSON.stringify(keys));
  const resource = { scope: 'kafka', audience: 'kafka', accessTokenFormat: 'jwt', accessTokenTTL: ttl, jwt: { sign: { alg: 'RS256' } } };
  handler = new Provider(issuer, {
    clients: Object.keys(groups).map((client_id) => ({
      client_id, client_secret: 's3cret', redirect_uris: [], response_types: [], grant_types: ['client_credentials'],
    })),
    jwks: { keys },
    scopes: ['openid', 'kafka'],
    extraTokenClaims: (ctx, token) => ({ groups: groups[token.clientId] ?? [] }),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true, defaultResource: () => 'urn:kafka', useGrantedResource: () => true, getResourceServerInfo: () => resource,
      },
    },
  }).callback();
};
build();

const counts = { discovery: 0, keys: 0, tokens: 0 };
const counted = { '/.well-known/openid-configuration': 'discovery', '/jwks': 'keys', '/token': 'tokens' };
const serve = (req, res) => {
  if (counted[req.url]) counts[counted[req.url]] += 1;
  handler(req, res);
};
const command = (req, res) => {
  const done = (answer) => res.end(JSON.stringify(answer));
  if (req.method === 'POST' && req.url === '/test/rotate') { keys = [newKey(), ...keys]; build(); return done({}); }
  if (req.method === 'POST' && req.url === '/test/drop-old') { keys = keys.slice(0, 1); build(); return done({}); }
  if (req.url === '/test/requests') return done(counts);
  handler(req, res);
};

const main = cert ? https.createServer({ cert: readFileSync(cert), key: readFileSync(key) }, serve) : http.createServer(serve);
main.listen(port, '127.0.0.1', () => http.createServer(command).listen(control, '127.0.0.1'));
