/** The sound a fake microphone plays: one steady tone per Chromium, so that a listener can tell who is heard. */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const SAMPLE_RATE_HZ = 48_000;
const AMPLITUDE = 0.5;

/** Writes a one-second WAV, which Chromium repeats, beside the bundle, and returns its path. Whole hertz loop without a click. */
export function toneFile(frequency_hz: number): string {
  const samples = new Int16Array(SAMPLE_RATE_HZ);
  for (let i = 0; i < samples.length; i++) {
    samples[i] = Math.round(AMPLITUDE * 32_767 * Math.sin((2 * Math.PI * frequency_hz * i) / SAMPLE_RATE_HZ));
  }
  const header = Buffer.alloc(44);
  header.write("RIFF", 0);
  header.writeUInt32LE(36 + samples.byteLength, 4);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(SAMPLE_RATE_HZ, 24);
  header.writeUInt32LE(SAMPLE_RATE_HZ * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write("data", 36);
  header.writeUInt32LE(samples.byteLength, 40);
  const path = fileURLToPath(new URL(`tone-${frequency_hz}hz.wav`, import.meta.url));
  writeFileSync(path, Buffer.concat([header, Buffer.from(samples.buffer)]));
  return path;
}
