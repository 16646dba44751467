-- oldest_binary: 20261129000600
SET LOCAL row_security = off;

-- Leases --------------------------------------------------------------------------------------------------------------------

-- What a worker shows is stored as its SHA-256: the token has 122 random bits, so nothing finds it from the digest. A column
-- with the token stays, because an earlier program compares it: see data.stores_lease_tokens().
ALTER TABLE data.analysis_jobs
    ADD COLUMN lease_digest bytea,
    NO FORCE ROW LEVEL SECURITY,
    DISABLE TRIGGER USER;
UPDATE data.analysis_jobs SET lease_digest = sha256(uuid_send(lease_token)) WHERE lease_token IS NOT NULL;
ALTER TABLE data.analysis_jobs
    ENABLE TRIGGER USER,
    FORCE ROW LEVEL SECURITY,
    DROP CONSTRAINT analysis_jobs_lease_check,
    ADD CONSTRAINT analysis_jobs_lease_check CHECK (
        num_nonnulls(lease_digest, lease_holder, lease_expires_at) = CASE state WHEN 'leased' THEN 3 ELSE 0 END
        AND (lease_token IS NULL OR state = 'leased')) NOT VALID,
    ADD CONSTRAINT analysis_jobs_lease_digest_check CHECK (octet_length(lease_digest) = 32) NOT VALID;

CREATE FUNCTION data.stores_lease_tokens() RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM data._sqlx_migrations AS this, data._sqlx_migrations AS before
        WHERE this.version = 20261129000900 AND before.version = 20261129000800
            AND this.installed_on > now() - interval '1 day'
            AND before.installed_on < this.installed_on - interval '1 minute'
    );
END
$$;
COMMENT ON FUNCTION data.stores_lease_tokens() IS
    'True for a day after an upgrade, in which replicas of an earlier program may complete leases too. A new installation stores no token.';

-- Every program writes the token of a lease into its column; the table keeps the digest. The end of a lease forgets both.
CREATE FUNCTION data.digest_lease_token() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    IF NEW.state <> 'leased' THEN
        NEW.lease_digest := NULL;
    ELSIF NEW.lease_token IS NOT NULL THEN
        NEW.lease_digest := sha256(uuid_send(NEW.lease_token));
        IF NOT data.stores_lease_tokens() THEN
            NEW.lease_token := NULL;
        END IF;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION data.digest_lease_token() IS 'Replaces the token of a lease by its digest.';
CREATE TRIGGER analysis_jobs_lease_digest BEFORE INSERT OR UPDATE ON data.analysis_jobs FOR EACH ROW
    WHEN (NEW.lease_token IS NOT NULL OR NEW.lease_digest IS NOT NULL) EXECUTE FUNCTION data.digest_lease_token();

CREATE FUNCTION data.current_lease_digest() RETURNS bytea
    LANGUAGE sql STABLE SECURITY INVOKER SET search_path = ''
    RETURN sha256(uuid_send(data.current_lease()));
COMMENT ON FUNCTION data.current_lease_digest() IS 'The digest of the lease that the transaction carries, or NULL.';
GRANT EXECUTE ON FUNCTION data.current_lease_digest() TO data_service;
ALTER POLICY conversations_service_select ON data.conversations
    USING (EXISTS (
        SELECT FROM data.analysis_jobs AS job
        WHERE job.user_id = conversations.user_id
            AND conversations.number BETWEEN job.first_number AND job.last_number
            AND job.state = 'leased'
            AND job.lease_digest = (SELECT data.current_lease_digest())
            AND job.lease_expires_at > now()));

-- A lease lasts for ten minutes at most, as LeaseJobs and ExtendLease have it, and a job waits for an hour and a half. By SQL
-- both could last for ever.
ALTER POLICY analysis_jobs_service_update ON data.analysis_jobs
    WITH CHECK ((lease_expires_at IS NULL OR lease_expires_at <= now() + interval '10 minutes')
        AND start_after <= now() + interval '1 day');

-- Times that are set once ---------------------------------------------------------------------------------------------------

-- A share that was revoked, an event that was acknowledged, a conflict that was settled: none of these is taken back or dated
-- otherwise, by no role of Haven and by no function. A superuser, who repairs rows by hand, may.
CREATE FUNCTION data.refuse_second_time() RETURNS trigger
    LANGUAGE plpgsql SECURITY INVOKER SET search_path = ''
    AS $$
BEGIN
    IF (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user) THEN
        RETURN NEW;
    END IF;
    RAISE check_violation USING MESSAGE = 'a time that is set must not change', CONSTRAINT = TG_NAME,
        TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
END
$$;
COMMENT ON FUNCTION data.refuse_second_time() IS 'Refuses to change a time that was set.';
CREATE TRIGGER crisis_events_acknowledged_at_once BEFORE UPDATE ON data.crisis_events FOR EACH ROW
    WHEN (OLD.acknowledged_at IS NOT NULL AND NEW.acknowledged_at IS DISTINCT FROM OLD.acknowledged_at) EXECUTE FUNCTION data.refuse_second_time();
CREATE TRIGGER crisis_events_resolved_at_once BEFORE UPDATE ON data.crisis_events FOR EACH ROW
    WHEN (OLD.resolved_at IS NOT NULL AND NEW.resolved_at IS DISTINCT FROM OLD.resolved_at) EXECUTE FUNCTION data.refuse_second_time();
CREATE TRIGGER cycle_data_conflicts_settled_at_once BEFORE UPDATE ON data.cycle_data_conflicts FOR EACH ROW
    WHEN (OLD.settled_at IS NOT NULL AND NEW.settled_at IS DISTINCT FROM OLD.settled_at) EXECUTE FUNCTION data.refuse_second_time();
CREATE TRIGGER healthcare_share_revoked_at_once BEFORE UPDATE ON data.healthcare_share FOR EACH ROW
    WHEN (OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at) EXECUTE FUNCTION data.refuse_second_time();
CREATE TRIGGER healthcare_share_ended_at_once BEFORE UPDATE ON data.healthcare_share FOR EACH ROW
    WHEN (OLD.ended_at IS NOT NULL AND NEW.ended_at IS DISTINCT FROM OLD.ended_at) EXECUTE FUNCTION data.refuse_second_time();

SET LOCAL row_security = on;
