import { t } from '../i18n';

interface Person {
  x: number;
  y: number;
  hue: number;
  speaking?: boolean;
}

const PEOPLE: Person[] = [
  { x: 0, y: 0, hue: 190, speaking: true },
  { x: 228, y: 0, hue: 65 },
  { x: 0, y: 180, hue: 300 },
  { x: 228, y: 180, hue: 25 },
];

/** A quiet picture of a meeting: four tiles, one of them speaking. */
export function Illustration() {
  return (
    <svg className="home-illustration" viewBox="-8 -8 460 400" role="img" aria-label={t('app.illustration')}>
      {PEOPLE.map((person) => (
        <Tile key={person.hue} {...person} />
      ))}
      <g className="home-controls" transform="translate(122 336)">
        <rect width="200" height="56" rx="28" fill="var(--surface)" stroke="var(--border)" />
        <circle cx="36" cy="28" r="15" fill="var(--raised)" />
        <circle cx="79" cy="28" r="15" fill="var(--raised)" />
        <circle cx="122" cy="28" r="15" fill="var(--accent-soft)" />
        <rect x="146" y="13" width="40" height="30" rx="15" fill="var(--danger)" />
      </g>
    </svg>
  );
}

function Tile({ x, y, hue, speaking }: Person) {
  return (
    <g transform={`translate(${x} ${y})`} className="home-tile" style={{ '--hue': hue }}>
      <clipPath id={`tile-${hue}`}>
        <rect width="216" height="168" rx="22" />
      </clipPath>
      <g clipPath={`url(#tile-${hue})`}>
        <rect className="home-tile-wall" width="216" height="168" />
        <path className="home-tile-body" d="M38 168c0-42 30-62 70-62s70 20 70 62z" />
        <circle className="home-tile-head" cx="108" cy="72" r="32" />
      </g>
      {speaking && <rect className="home-tile-ring" x="1" y="1" width="214" height="166" rx="21" />}
    </g>
  );
}
