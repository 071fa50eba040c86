// Preloaded into emulate, which has no option for the address to listen on and would take every interface, and
// which refuses port 0. It gets a free port of the loopback interface instead, and that port is told on stdout.
import { Server } from "node:net";

const listen = Server.prototype.listen;

Server.prototype.listen = function (_port, _host, ready) {
  return listen.call(this, { port: 0, host: "127.0.0.1" }, () => {
    console.log(`listening on port ${this.address().port}`);
    ready?.(this.address());
  });
};
