// The one dependency. Where a node serves these files, this one is socket.io-client itself, in one module.
export { io } from "socket.io-client";
