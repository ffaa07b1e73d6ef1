// Bun.serve as Bun brings it.
const refused = () => Response.json({ error: "not a pixel" }, { status: 422 });

Bun.serve({
  hostname: "127.0.0.1",
  port: 8000,
  routes: {
    "/pixel": {
      POST: async (request) => {
        let pixel;
        try {
          pixel = await request.json();
        } catch {
          return refused();
        }
        const { x, y, channel, value } = pixel ?? {};
        const isRight =
          Number.isInteger(x) && Number.isInteger(y) && ["R", "G", "B"].includes(channel) &&
          Number.isInteger(value) && value >= 0 && value <= 255;
        return isRight ? Response.json({ status: "ok", received: { x, y, channel, value } }) : refused();
      },
    },
  },
});
