// The course of one visit: prejoin → connecting → call → ended, with `blocked` where the server says no.
import { RoomEvent, type DisconnectReason, type Room } from 'livekit-client';
import { useEffect, useRef, useState } from 'react';
import { ApiError, joinMeeting } from '../lib/api';
import type { Invite } from '../lib/invite-link';
import { clearCallSession, loadCallSession, loadPreferences, saveCallSession, type CallSession } from '../lib/storage';
import type { JoinChoices } from '../prejoin/PreJoin';
import type { Capture } from '../prejoin/preview';
import {
  createRoom,
  endReasonOf,
  publishMedia,
  serverUnreachable,
  signalUrl,
  tokenRefused,
  type EndReason,
  type StartingMedia,
} from './room';

export type Problem = 'invalid' | 'unreachable' | 'failed';

export type Phase =
  | { step: 'prejoin' }
  | { step: 'connecting' }
  | { step: 'call'; room: Room; starting: StartingMedia }
  | { step: 'ended'; reason: EndReason }
  | { step: 'blocked'; problem: Problem; retry: () => void };

export function useMeeting(invite: Invite) {
  const [kept] = useState(() => loadCallSession(invite)); // there is one if this tab was reloaded during a call
  const [phase, setPhase] = useState<Phase>({ step: kept ? 'connecting' : 'prejoin' });
  const liveRoom = useRef<Room>(null);

  useEffect(() => {
    if (kept) void resume(kept);
    return () => void liveRoom.current?.disconnect();
  }, []);

  async function connect(session: CallSession, capture: Capture = {}): Promise<void> {
    const room = createRoom();
    room.once(RoomEvent.Disconnected, (reason) => {
      if (liveRoom.current === room) end(reason);
    });
    await room.connect(signalUrl(), session.token);
    liveRoom.current = room;
    saveCallSession(session);
    setPhase({ step: 'call', room, starting: publishMedia(room, session, capture) });
  }

  function end(reason?: DisconnectReason): void {
    liveRoom.current = null;
    const why = endReasonOf(reason);
    // The place in the room is kept for a reload, which also "leaves", and after a lost connection. leave() gives it up.
    if (why !== 'left' && why !== 'lost') clearCallSession();
    setPhase({ step: 'ended', reason: why });
  }

  async function joinAnew(choices: JoinChoices, capture?: Capture): Promise<void> {
    const admission = await joinMeeting(invite.room, invite.invite, choices.name);
    await connect({ ...invite, ...choices, token: admission.token, identity: admission.identity }, capture);
  }

  function block(error: unknown, retry: () => void): void {
    const problem = problemBehind(error);
    if (problem === 'invalid') clearCallSession();
    setPhase({ step: 'blocked', problem, retry });
  }

  /** From the pre-join screen. False: the server did not like the name. */
  async function join(choices: JoinChoices, capture: Capture): Promise<boolean> {
    try {
      await joinAnew(choices, capture);
    } catch (error) {
      capture.audio?.stop();
      capture.video?.stop();
      if (error instanceof ApiError && error.problem === 'bad-request') return false;
      block(error, () => void enter(choices));
    }
    return true;
  }

  /** Straight in, without the pre-join screen. */
  async function enter(choices: JoinChoices): Promise<void> {
    setPhase({ step: 'connecting' });
    try {
      await joinAnew(choices);
    } catch (error) {
      if (error instanceof ApiError && error.problem === 'bad-request') setPhase({ step: 'prejoin' });
      else block(error, () => void enter(choices));
    }
  }

  async function resume(session: CallSession): Promise<void> {
    setPhase({ step: 'connecting' });
    try {
      await connect(session);
    } catch (error) {
      if (tokenRefused(error)) await enter(session); // expired meanwhile
      else block(error, () => void resume(session));
    }
  }

  function leave(): void {
    clearCallSession();
    void liveRoom.current?.disconnect();
  }

  function rejoin(): void {
    const session = loadCallSession(invite);
    void (session ? resume(session) : enter(loadPreferences()));
  }

  return { phase, join, leave, rejoin };
}

function problemBehind(error: unknown): Problem {
  if (serverUnreachable(error)) return 'unreachable';
  if (!(error instanceof ApiError)) return 'failed';
  switch (error.problem) {
    case 'invalid-invite':
      return 'invalid';
    case 'unreachable':
      return 'unreachable';
    default:
      return 'failed';
  }
}
