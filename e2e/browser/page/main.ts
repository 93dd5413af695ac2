/** What the test page puts in its window: one participant, driven by the suite over the debugging protocol. */
import { setLogLevel } from "livekit-client";
import { PageParticipant } from "./participant.ts";
import { installWiretap } from "./wiretap.ts";

declare global {
  interface Window {
    participant: PageParticipant;
  }
}

installWiretap();
setLogLevel("debug");
window.participant = new PageParticipant();

// A shared tab must have something that moves.
let brightness = 0;
setInterval(() => (document.body.style.background = `hsl(0 0% ${(brightness = (brightness + 37) % 100)}%)`), 250);
