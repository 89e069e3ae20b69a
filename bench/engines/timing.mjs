// How much processor time one call takes, and the flag that all are asked for: timing.py for Node.
export const FLAGS = Array.from({ length: 50 }, (_, number) => `flag-${number}`);
export const KEY = "flag-7";
export const USER = "user_123";
export const COUNTRIES = ["DE", "AT", "CH"];
export const PERSON = { country: "DE", plan: "pro", email: "a@b.example", beta: true };
const STRANGER = { ...PERSON, country: "FR" };

export function measure(ask, differs = "") {
  const [rounds, calls] = process.argv.slice(2).map(Number);
  const taken = [];
  for (let round = 0; round < rounds; round++) {
    const began = process.cpuUsage();
    for (let call = 0; call < calls; call++) ask();
    const { user, system } = process.cpuUsage(began);
    taken.push((user + system) / calls);
  }
  taken.sort((a, b) => a - b);
  console.log(JSON.stringify({ us: taken[Math.floor(rounds / 2)], differs }));
}

export function check(decide) {
  const count = (people, attributes) =>
    Array.from({ length: people }, (_, n) => decide(`user_${n}`, attributes)).filter((one) => one === true).length;
  const [inside, outside] = [count(2000, PERSON), count(200, STRANGER)];
  if (inside < 850 || inside > 1150 || outside) {
    console.error(`${inside} of 2,000 inside, ${outside} of 200 outside`);
    process.exit(1);
  }
}
