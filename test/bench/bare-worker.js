/**
 * The least that a Worker can do here, to measure the edge against: checks one secret's signature, makes another where
 * `SIGNS` says so, forwards the body and hands the answer through. No bounds, no deadline, no retries, no books.
 */

const HMAC = { name: 'HMAC', hash: 'SHA-256' };
const encoder = new TextEncoder();
let keys;

function imported(secret) {
  const bytes = Uint8Array.from(atob(secret.slice('whsec_'.length)), (char) => char.charCodeAt(0));
  return crypto.subtle.importKey('raw', bytes, HMAC, false, ['sign', 'verify']);
}

function signedContent(id, timestamp, body) {
  const head = encoder.encode(`${id}.${timestamp}.`);
  const content = new Uint8Array(head.length + body.byteLength);
  content.set(head);
  content.set(new Uint8Array(body), head.length);
  return content;
}

export default {
  async fetch(request, env) {
    keys ??= await Promise.all([imported(env.PROVIDER_SECRET), imported(env.EDGE_SECRET)]);
    const [id, timestamp, signature] = ['id', 'timestamp', 'signature'].map((name) =>
      request.headers.get(`webhook-${name}`),
    );
    const body = await request.arrayBuffer();
    const mac = Uint8Array.from(atob(signature.slice('v1,'.length)), (char) => char.charCodeAt(0));
    const isGenuine = await crypto.subtle.verify('HMAC', keys[0], mac, signedContent(id, timestamp, body));
    if (!isGenuine) return new Response(null, { status: 401 });
    const headers = { 'content-type': request.headers.get('content-type') };
    if (env.SIGNS === '1') {
      const scoped = `${new URL(request.url).pathname.split('/').at(-1)}/${id}`;
      const made = await crypto.subtle.sign('HMAC', keys[1], signedContent(scoped, timestamp, body));
      headers['webhook-id'] = scoped;
      headers['webhook-timestamp'] = timestamp;
      headers['webhook-signature'] = `v1,${btoa(String.fromCharCode(...new Uint8Array(made)))}`;
    }
    return fetch(env.CLUSTER_URL + new URL(request.url).pathname, { method: 'POST', headers, body });
  },
};
