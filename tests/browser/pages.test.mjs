// Drives the pages as people do, in a real browser, against the real local parts. `make test-browser` runs this; the
// screenshots lie in target/screenshots/.

import './entrance.mjs';
import './identity.mjs';
import './sweetheart.mjs';
import './money.mjs';
import './purchase.mjs';
import './studio.mjs';
import './grid.mjs';
import './leaving.mjs';
