/** The strict reader of the Prometheus text format is that of `mdp verify`. */

export { type Family, parseExposition, sampleOf } from '../../deploy/mdp/exposition.ts';
