// The peer: socket.io on Bun's engine with @socket.io/redis-adapter, at their defaults. bun bun.js PORT REDIS_URL
const [port, redisUrl] = process.argv.slice(2);
const { createClient } = require("redis");
const { createAdapter } = require("@socket.io/redis-adapter");
const { Server } = require("socket.io");
const { Server: Engine } = require("@socket.io/bun-engine");

(async () => {
  const publisher = createClient({ url: redisUrl });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  const io = new Server({ adapter: createAdapter(publisher, subscriber) });
  const engine = new Engine({ path: "/socket.io/" });
  io.bind(engine);
  io.on("connection", (socket) => {
    if (socket.handshake.auth.room) socket.join(socket.handshake.auth.room);
    socket.emit("hello");
    socket.on("pub", (room, data, done) => {
      io.to(room).emit("ev", data);
      done("ok");
    });
  });
  Bun.serve({ port: Number(port), hostname: "127.0.0.1", ...engine.handler() });
  console.log("ready");
})();
