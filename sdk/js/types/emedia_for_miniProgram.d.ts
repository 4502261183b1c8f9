import type { Emedia } from './index';

declare const emedia: Emedia;
export = emedia;
