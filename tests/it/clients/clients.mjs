// Node's HTTP clients against the address in argv[2]: a pixel, a rejected one, and a kept connection.
import assert from "node:assert";
import http from "node:http";

const [host, port] = process.argv[2].split(":");
const pixel = { x: 10, y: 20, channel: "R", value: 255 };
const ok = [200, { status: "ok", received: pixel }];
const rejected = [422, { error: "value must be between 0 and 255" }];
const sequence = [[pixel, ok], [{ ...pixel, value: 256 }, rejected], [pixel, ok]];
const headers = { "content-type": "application/json" };

for (const [body, wanted] of sequence) {
  const response = await fetch(`http://${host}:${port}/pixel`, { method: "POST", headers, body: JSON.stringify(body) });
  assert.deepStrictEqual([response.status, await response.json()], wanted);
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const post = (body, extra) =>
  new Promise((resolve, reject) => {
    const request = http.request({ host, port, path: "/pixel", method: "POST", agent, headers: { ...headers, ...extra } });
    const send = () => request.end(JSON.stringify(body));
    request.on("error", reject);
    request.on("response", async (response) => {
      let text = "";
      for await (const part of response) text += part;
      resolve([response.statusCode, JSON.parse(text)]);
    });
    // Without a Content-Length, the body goes out in chunks.
    if (extra.expect) request.on("continue", send);
    else send();
  });
for (const extra of [{}, { expect: "100-continue" }]) {
  for (const [body, wanted] of sequence) assert.deepStrictEqual(await post(body, extra), wanted);
}
agent.destroy();
