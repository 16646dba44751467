SET LOCAL row_security = off;

-- Opening a share. Whoever does so has no account and no rights here: a transaction of nobody calls these functions, which
-- run as the owner. That a token is known makes the transaction act for the share's person, until the function ends; the
-- owner's policies show it that person's rows and no others.
GRANT USAGE ON SCHEMA data TO data_anon;

-- How a passcode for the share of a token is to be hashed: its argon2id hash in the PHC format, without the hash. Null:
-- there is no such share, or it has no passcode.
CREATE FUNCTION data.share_passcode_recipe(token_hash bytea) RETURNS text
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    caller CONSTANT text := current_setting('request.jwt.claims', true);
    opened record;
    recipe text;
BEGIN
    PERFORM set_config('data.wanted_share_token', encode(share_passcode_recipe.token_hash, 'hex'), true);
    SELECT t.user_id, t.share_id INTO opened FROM data.share_token AS t
        WHERE t.token_hash = share_passcode_recipe.token_hash;
    PERFORM set_config('data.wanted_share_token', '', true);
    IF opened.user_id IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM set_config('request.jwt.claims', jsonb_build_object('sub', opened.user_id)::text, true);
    SELECT regexp_replace(s.passcode_hash, '\$[^$]*$', '') INTO recipe FROM data.healthcare_share AS s
        WHERE s.user_id = opened.user_id AND s.id = opened.share_id;
    PERFORM set_config('request.jwt.claims', caller, true);
    RETURN recipe;
END
$$;
COMMENT ON FUNCTION data.share_passcode_recipe(bytea) IS
    'Answers how a passcode for the share of a token is to be hashed, if it has one.';
GRANT EXECUTE ON FUNCTION data.share_passcode_recipe(bytea) TO data_anon;

-- Opens the share of a token: counts the opening, checks that the share is not revoked, has not expired and is not used
-- up, checks the passcode, and writes the attempt down; all in one statement, and one at a time. Answers what was shared,
-- or nothing, whatever the reason is: that is for the share's person to read.
--
-- passcode_hash is the whole hash of the passcode that was given, by share_passcode_recipe; null when none was. Five wrong
-- ones in a share's life, and no other is looked at. To give none is not a try. A share notes down each of the five, and of
-- its other refusals those among the first 1,000; it counts all.
CREATE FUNCTION data.validate_share_token(token_hash bytea, passcode_hash text, device_type text, at timestamptz)
    RETURNS TABLE (user_id uuid, share_id uuid, encrypted_share_data bytea, envelope_version smallint, algorithm text,
        key_id uuid, key_version integer, nonce bytea, salt bytea, kdf_memory_kib integer, kdf_iterations integer,
        kdf_parallelism integer, associated_data_version smallint, created_at timestamptz, expires_at timestamptz)
    LANGUAGE plpgsql VOLATILE ROWS 1 SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    caller CONSTANT text := current_setting('request.jwt.claims', true);
    wanted record;
    held data.healthcare_share;
    outcome text;
    -- The service's clock decides, as far as it is about right: nobody opens what expired by saying that it is yesterday.
    opened_at CONSTANT timestamptz := greatest(validate_share_token.at, now() - interval '1 minute');
BEGIN
    -- Many at once wait for each other, whether or not there is a share: how long tells nothing.
    PERFORM pg_advisory_xact_lock(hashtextextended(encode(validate_share_token.token_hash, 'hex'), 0));
    PERFORM set_config('data.wanted_share_token', encode(validate_share_token.token_hash, 'hex'), true);
    SELECT t.user_id, t.share_id INTO wanted FROM data.share_token AS t
        WHERE t.token_hash = validate_share_token.token_hash;
    PERFORM set_config('data.wanted_share_token', '', true);
    IF wanted.user_id IS NULL THEN
        RETURN;
    END IF;
    PERFORM set_config('request.jwt.claims', jsonb_build_object('sub', wanted.user_id)::text, true);
    -- The person before the share, as whoever erases the person does: of the two at once, neither waits in a circle.
    PERFORM FROM data.users AS u WHERE u.id = wanted.user_id FOR KEY SHARE;
    SELECT * INTO held FROM data.healthcare_share AS s
        WHERE s.user_id = wanted.user_id AND s.id = wanted.share_id FOR NO KEY UPDATE;
    IF FOUND THEN
        outcome := CASE
            WHEN held.revoked_at IS NOT NULL THEN 'revoked'
            WHEN held.expires_at <= opened_at THEN 'expired'
            WHEN held.access_count >= held.max_access_count THEN 'used_up'
            WHEN held.passcode_hash IS NULL THEN 'opened'
            WHEN held.wrong_passcodes >= 5 THEN 'locked'
            WHEN validate_share_token.passcode_hash IS NULL THEN 'passcode_missing'
            -- Of a hash that nobody can choose, how much of it is right tells nothing.
            WHEN held.passcode_hash <> validate_share_token.passcode_hash THEN 'passcode_wrong'
            ELSE 'opened'
        END;
        UPDATE data.healthcare_share AS s
            SET access_count = s.access_count + (outcome = 'opened')::integer,
                last_accessed_at = CASE outcome WHEN 'opened' THEN opened_at ELSE s.last_accessed_at END,
                wrong_passcodes = s.wrong_passcodes + (outcome = 'passcode_wrong')::integer,
                refusal_count = s.refusal_count + (outcome <> 'opened')::integer
            WHERE s.user_id = wanted.user_id AND s.id = wanted.share_id;
        IF outcome IN ('opened', 'passcode_wrong') OR held.refusal_count < 1000 THEN
            INSERT INTO data.healthcare_share_audit (user_id, share_id, accessed_at, device_type, outcome)
                VALUES (wanted.user_id, wanted.share_id, opened_at, validate_share_token.device_type, outcome);
        END IF;
    END IF;
    PERFORM set_config('request.jwt.claims', caller, true);
    IF outcome = 'opened' THEN
        RETURN QUERY SELECT held.user_id, held.id, held.encrypted_payload, held.envelope_version, held.algorithm,
            held.key_id, held.key_version, held.nonce, held.salt, held.kdf_memory_kib, held.kdf_iterations,
            held.kdf_parallelism, held.associated_data_version, held.created_at, held.expires_at;
    END IF;
END
$$;
COMMENT ON FUNCTION data.validate_share_token(bytea, text, text, timestamptz) IS
    'Opens the share of a token once, and writes it down; or answers nothing, and writes down why.';
GRANT EXECUTE ON FUNCTION data.validate_share_token(bytea, text, text, timestamptz) TO data_anon;

-- Who tried to open a share, when, and what came of it: newest first, so many after the one that was seen last. A person
-- sees their own shares', and haven_readonly everybody's; one share's, or with null all that they may see.
CREATE FUNCTION data.healthcare_access_audit(
    share uuid DEFAULT NULL, before timestamptz DEFAULT NULL, before_id uuid DEFAULT NULL, batch integer DEFAULT 100
) RETURNS TABLE (user_id uuid, share_id uuid, id uuid, accessed_at timestamptz, device_type text, outcome text)
    LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = ''
    AS $$
BEGIN
    RETURN QUERY SELECT a.user_id, a.share_id, a.id, a.accessed_at, a.device_type, a.outcome
        FROM data.healthcare_share_audit AS a
        WHERE (share IS NULL OR a.share_id = share)
            AND (before IS NULL OR (a.accessed_at, a.id) < (before, coalesce(before_id, '00000000-0000-0000-0000-000000000000')))
        ORDER BY a.accessed_at DESC, a.id DESC
        LIMIT batch;
END
$$;
COMMENT ON FUNCTION data.healthcare_access_audit(uuid, timestamptz, uuid, integer) IS
    'Answers who tried to open shares, when, and what came of it: newest first.';
GRANT EXECUTE ON FUNCTION data.healthcare_access_audit(uuid, timestamptz, uuid, integer) TO data_user, haven_readonly;

SET LOCAL row_security = on;
