// The peer: socket.io with @socket.io/redis-adapter, at its defaults. node node.js PORT REDIS_URL
const [port, redisUrl] = process.argv.slice(2);
const { createClient } = require("redis");
const { createAdapter } = require("@socket.io/redis-adapter");
const { Server } = require("socket.io");

(async () => {
  const publisher = createClient({ url: redisUrl });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  const io = new Server(Number(port), { adapter: createAdapter(publisher, subscriber) });
  io.on("connection", (socket) => {
    if (socket.handshake.auth.room) socket.join(socket.handshake.auth.room);
    socket.emit("hello");
    socket.on("pub", (room, data, done) => {
      io.to(room).emit("ev", data);
      done("ok");
    });
  });
  console.log("ready");
})();
