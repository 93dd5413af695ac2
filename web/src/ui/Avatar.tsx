import './avatar.css';
import { hueOf, initialsOf } from './initials';

/** Initials on a colour that stays the same for the same person. */
export function Avatar({ name, seed = name }: { name: string; seed?: string }) {
  return (
    <span className="avatar" style={{ '--hue': hueOf(seed) }} aria-hidden>
      {initialsOf(name)}
    </span>
  );
}
