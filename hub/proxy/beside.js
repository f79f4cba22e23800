// beside.js NAME: our own address on the network that NAME is on, as soon as both are known.
const { lookup } = require("node:dns/promises");
const { BlockList } = require("node:net");
const { networkInterfaces } = require("node:os");
const { setTimeout: pause } = require("node:timers/promises");

const name = process.argv[2];

function beside(theirs) {
  const ours = Object.values(networkInterfaces()).flat();
  return ours.find(({ address, cidr, family }) => {
    if (family !== "IPv4") return false;
    const network = new BlockList();
    network.addSubnet(address, Number(cidr.split("/")[1]));
    return network.check(theirs);
  })?.address;
}

(async () => {
  for (let said = ""; ; await pause(200)) {
    let why = "none of our networks is its";
    try {
      const found = beside((await lookup(name, 4)).address);
      if (found) return console.log(found);
    } catch (error) {
      why = error.message;
    }
    if (why !== said) console.error(`Waiting for the network of ${name}: ${why}`);
    said = why;
  }
})();
