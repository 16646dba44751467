SET LOCAL row_security = off;

-- A constraint that was validated cannot be made NOT VALID again, and the migration before replaces both.

SET LOCAL row_security = on;
