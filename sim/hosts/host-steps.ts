/**
 * Steps of a scenario that are about whole hosts: what happens to machines, to the cluster's word on them, and to masters.
 */
import type { Fate } from "../invariants.ts";
import type { SimMember } from "../member.ts";
import type { HostStep } from "../scenario.ts";
import type { Hosts } from "./hosts.ts";

/** What a step needs of the simulation. */
export interface Stage {
  readonly hosts: Hosts;
  readonly members: readonly SimMember[];
  fateOf(member: SimMember): Fate;
  isSeed(member: SimMember): boolean;
  start(member: SimMember): void;
  crash(member: SimMember, disk: "kept" | "lost"): void;
}

export function doHostStep(step: HostStep, stage: Stage): void {
  const { hosts } = stage;
  if (step.do === "floor") {
    hosts.raiseFloor();
    return;
  }
  if (step.do === "masters") {
    for (const member of stage.members.filter((each) => hosts.isMaster(each)))
      if (step.are === "up") stage.start(member);
      else stage.crash(member, "kept");
    return;
  }
  const member = stage.members[Number(step.member.slice(1))] as SimMember;
  if (hosts.isMaster(member)) return;
  if (step.do === "lie") hosts.lie(member, step.kind);
  else if (step.do === "reboot") {
    stage.crash(member, "kept");
    hosts.reboot(member);
    stage.start(member);
  } else if (!stage.isSeed(member)) newPlace(step.do, member, stage);
}

/** Who is found by its address has to stay where it is. */
function newPlace(what: "move" | "replace" | "readmit", member: SimMember, stage: Stage): void {
  const { hosts } = stage;
  const { isExpelled } = stage.fateOf(member);
  if ((what === "readmit") !== isExpelled) return;
  if (what === "readmit") {
    const again = hosts.readmit(member);
    if (again !== undefined) stage.start(again);
    return;
  }
  stage.crash(member, "kept");
  if (what === "move") {
    hosts.move(member);
    stage.start(member);
    return;
  }
  const instead = hosts.replace(member);
  if (instead === undefined) return;
  stage.fateOf(member).hasLeft = true;
  stage.start(instead);
}
