// Whoever went from the grid to log in is brought back there. All the ways in end at the dashboard, which loads this.

import { session } from '/auth.js';

const back = JSON.parse(sessionStorage.getItem('sweetheart.back'));

// grid.js takes the note away, once it has done what was asked for.
if (back && (await session().catch(() => null))) location.replace(back.path);
