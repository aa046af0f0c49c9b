/**
 * `weft reserve` and `weft reservations`: addresses that are kept for containers of a name.
 */
import { type Command, InvalidArgumentError } from "commander";
import { z } from "zod";
import { Fault } from "../../model/fault.ts";
import type { Ip } from "../../model/ip.ts";
import { RESERVED_ADDRESSES_MAX } from "../../model/limits.ts";
import { parseReserved, type Reservation, reservationSchema, reservedText } from "../../model/reservation.ts";
import { type ReservationsView, reservationsSchema } from "../master/reservation-routes.ts";
import { callService } from "./api-client.ts";
import { addMasterOption, addOperatorOptions, type MasterFlags, masterOf } from "./master-option.ts";
import { print } from "./print.ts";
import { type Column, renderTable } from "./table.ts";

interface Flags extends MasterFlags {
  readonly json?: true;
}

interface ReserveFlags extends Flags {
  readonly remove?: true;
}

const HELP = `
The container that its runtime calls NAME gets one of the addresses, on
whichever host it starts; nobody else gets them. An address is one, or a range;
at most one of each family is given to an interface.

  weft reserve dcos web-1 9.0.1.77
  weft reserve dcos db 9.0.1.80-9.0.1.83,fd01:b::80-fd01:b::83
  weft reserve --remove dcos web-1
`;

export function addReserveCommands(program: Command): void {
  addOperatorOptions(program.command("reserve"))
    .description("keep addresses for the containers of a name")
    .argument("<net>", "network, as 'weft networks' shows it")
    .argument("<name>", "what the runtime calls the container")
    .argument("[ips]", "9.0.1.77, 9.0.1.80-9.0.1.83; several with commas", readAddresses)
    .option("--remove", "end the reservation")
    .option("--json", "print JSON")
    .addHelpText("after", HELP)
    .action(async (network: string, name: string, addresses: readonly Ip[] | undefined, flags: ReserveFlags) => {
      const path = `/v1/reservations/${encodeURIComponent(network)}/${encodeURIComponent(name)}`;
      if ((flags.remove === true) === (addresses !== undefined))
        throw new Fault("bad-request", "give either addresses to keep, or --remove");
      if (flags.remove === true) {
        const answer = await callService(masterOf(flags), "DELETE", path, z.object({ removed: z.string() }));
        print(flags, answer, () => `nothing is reserved for ${answer.removed} in network ${network} any more`);
        return;
      }
      const body = { reservation: { network, name, addresses } };
      const answer = await callService(
        masterOf(flags),
        "PUT",
        path,
        z.object({ reservation: reservationSchema }),
        body,
      );
      print(flags, answer.reservation, () => reservationText(answer.reservation));
    });
  addMasterOption(program.command("reservations"))
    .description("addresses that are kept for names, and who has them")
    .option("--json", "print JSON")
    .action(async (flags: Flags) => {
      const view = await callService(masterOf(flags), "GET", "/v1/reservations", reservationsSchema);
      print(flags, view, () => reservationsTable(view));
    });
}

const COLUMNS: readonly Column[] = [
  { title: "NETWORK" },
  { title: "NAME", cut: true },
  { title: "ADDRESSES", cut: true },
  { title: "HELD BY", cut: true },
];

export function reservationsTable({ reservations, uses, claims, hostnames }: ReservationsView): string {
  const rows = reservations.map(({ network, name, addresses }) => {
    const holders = uses
      .filter(({ address }) => addresses.includes(address))
      .map((use) => {
        const other = use.name === name ? "" : ` (${use.name ?? use.containerId.slice(0, 12)}!)`;
        return `${hostnames[use.agent] ?? use.agent}${other}`;
      });
    const hosts = claims.filter(({ claim }) => addresses.includes(claim.address));
    const last = hosts.map(({ agent }) => `- (last ${hostnames[agent] ?? agent})`);
    const held = [...new Set(holders.length > 0 ? holders : last)];
    return [network, name, reservedText(addresses), held.join() || "-"];
  });
  return renderTable(COLUMNS, rows);
}

function reservationText({ network, name, addresses }: Reservation): string {
  return `${reservedText(addresses)} of network ${network} is kept for ${name}`;
}

function readAddresses(text: string): readonly Ip[] {
  const addresses = parseReserved(text);
  if (addresses !== undefined) return addresses;
  throw new InvalidArgumentError(
    `it is a list such as 9.0.1.77,9.0.1.80-9.0.1.83 of at most ${RESERVED_ADDRESSES_MAX} addresses, each once`,
  );
}
