SET LOCAL row_security = off;

-- Limits, by the generic cell rate algorithm (GCRA, ITU-T I.371), shared by all replicas. A key is a keyed hash of
-- what is limited, so the table holds nobody's rows and no address. UNLOGGED: after a crash of Postgres everybody
-- starts afresh, and nothing of it is worth a write to disk.
CREATE UNLOGGED TABLE identity.rate_limits (
    key bytea NOT NULL,
    -- The theoretical arrival time: when the next call would come if calls came evenly.
    tat timestamptz NOT NULL,
    -- The time between two calls at the limit, and how far ahead of its time one may come.
    emission interval NOT NULL,
    tolerance interval NOT NULL,
    -- What became of the last call.
    admitted boolean NOT NULL,
    CONSTRAINT rate_limits_pkey PRIMARY KEY (key),
    CONSTRAINT rate_limits_key_check CHECK (octet_length(key) = 32)
) WITH (fillfactor = 70);
COMMENT ON TABLE identity.rate_limits IS 'Rate limits: when the next call of each kind is due.';

-- Passwords that were wrong, by the account that they were tried on, whether there is one or not: each makes the next
-- attempt wait longer, up to half an hour, and none locks anybody out for ever.
CREATE UNLOGGED TABLE identity.failures (
    key bytea NOT NULL,
    count integer NOT NULL,
    not_before timestamptz NOT NULL,
    CONSTRAINT failures_pkey PRIMARY KEY (key),
    CONSTRAINT failures_key_check CHECK (octet_length(key) = 32),
    CONSTRAINT failures_count_check CHECK (count >= 1)
) WITH (fillfactor = 70);
COMMENT ON TABLE identity.failures IS 'Wrong passwords in a row, and when the next attempt is let through.';

ALTER TABLE identity.rate_limits ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE identity.failures ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

-- No role reaches the tables: whoever could write them could lift a limit. The functions below do.
CREATE POLICY rate_limits_owner_select ON identity.rate_limits FOR SELECT TO identity_owner USING (true);
CREATE POLICY rate_limits_owner_insert ON identity.rate_limits FOR INSERT TO identity_owner WITH CHECK (true);
CREATE POLICY rate_limits_owner_update ON identity.rate_limits FOR UPDATE TO identity_owner
    USING (true) WITH CHECK (true);
CREATE POLICY rate_limits_owner_delete ON identity.rate_limits FOR DELETE TO identity_owner USING (true);
CREATE POLICY failures_owner_select ON identity.failures FOR SELECT TO identity_owner USING (true);
CREATE POLICY failures_owner_insert ON identity.failures FOR INSERT TO identity_owner WITH CHECK (true);
CREATE POLICY failures_owner_update ON identity.failures FOR UPDATE TO identity_owner
    USING (true) WITH CHECK (true);
CREATE POLICY failures_owner_delete ON identity.failures FOR DELETE TO identity_owner USING (true);

-- One decision about one call: a row for each limit that it falls under. Deciding and counting are one statement, so
-- no number of calls at once can pass a limit; rows are locked in the order of their keys, so no two calls wait for
-- each other. Whoever is refused by one limit rolls back, and has then used up nothing of the others.
--
-- The time is this server's: with the replicas' clocks, one that is fast would push a limit's time ahead for all.
-- `account` is the key of failures, or NULL; it is looked at, and counted by identity.note_failure.
CREATE FUNCTION identity.admit(keys bytea[], emissions interval[], tolerances interval[], account bytea)
    RETURNS TABLE (key bytea, admitted boolean, retry_after interval)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    at CONSTANT timestamptz := clock_timestamp();
BEGIN
    RETURN QUERY
        INSERT INTO identity.rate_limits AS kept (key, tat, emission, tolerance, admitted)
        SELECT asked.key, at + asked.emission, asked.emission, asked.tolerance, true
        FROM unnest(admit.keys, admit.emissions, admit.tolerances) AS asked (key, emission, tolerance)
        ORDER BY asked.key
        ON CONFLICT ON CONSTRAINT rate_limits_pkey DO UPDATE SET
            admitted = greatest(kept.tat, at) - at <= excluded.tolerance,
            tat = CASE WHEN greatest(kept.tat, at) - at <= excluded.tolerance
                THEN greatest(kept.tat, at) + excluded.emission ELSE kept.tat END,
            emission = excluded.emission,
            tolerance = excluded.tolerance
        RETURNING kept.key, kept.admitted, kept.tat - at - kept.tolerance;
    IF admit.account IS NOT NULL THEN
        RETURN QUERY
            SELECT f.key, f.not_before <= at, f.not_before - at FROM identity.failures AS f
            WHERE f.key = admit.account;
    END IF;
END
$$;
COMMENT ON FUNCTION identity.admit(bytea[], interval[], interval[], bytea) IS
    'Whether a call is within its limits: a row for each, and for how long to wait where it is not.';
GRANT EXECUTE ON FUNCTION identity.admit(bytea[], interval[], interval[], bytea) TO identity_anon, identity_user;

-- The first four wrong passwords cost nothing: people mistype. From the fifth on one waits a second, then two, four
-- and so on, up to half an hour. A day after the last wait was over, all is forgotten.
CREATE FUNCTION identity.note_failure(account bytea) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    at CONSTANT timestamptz := clock_timestamp();
BEGIN
    INSERT INTO identity.failures AS f (key, count, not_before) VALUES (note_failure.account, 1, at)
    ON CONFLICT (key) DO UPDATE SET
        count = CASE WHEN f.not_before < at - interval '1 day' THEN 1 ELSE f.count + 1 END,
        not_before = CASE WHEN f.not_before < at - interval '1 day' OR f.count + 1 < 5 THEN at
            ELSE at + least(interval '1 second' * 2 ^ least(f.count + 1 - 5, 20), interval '30 minutes') END;
END
$$;
COMMENT ON FUNCTION identity.note_failure(bytea) IS 'Counts a wrong password, and says when the next attempt may come.';
GRANT EXECUTE ON FUNCTION identity.note_failure(bytea) TO identity_user, identity_service;

CREATE FUNCTION identity.forget_failures(account bytea) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    DELETE FROM identity.failures AS f WHERE f.key = forget_failures.account;
END
$$;
COMMENT ON FUNCTION identity.forget_failures(bytea) IS 'Forgets the wrong passwords of an account whose right one was given.';
GRANT EXECUTE ON FUNCTION identity.forget_failures(bytea) TO identity_user;

SET LOCAL row_security = on;
