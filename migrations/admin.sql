-- What only an administrator can create for a brand: its role, its schema, the shared schema for extensions, and the isolation
-- between brands. `brandgate migrate --admin-url` runs this in one transaction; without an administrator's URL it prints it.
-- It may run any number of times. Settings: brandgate.role, and brandgate.password (if empty, the password is not changed).
do $$
declare
    brand_role text := current_setting('brandgate.role');
    brand_password text := coalesce(current_setting('brandgate.password', true), '');
begin
    -- Concurrent runs in one database would conflict.
    perform pg_advisory_xact_lock(hashtextextended('brandgate:admin', 0));

    if not exists (select from pg_roles where rolname = brand_role) then
        execute format('create role %I', brand_role);
    end if;
    if (select rolsuper from pg_roles where rolname = brand_role) then
        raise exception 'the role % is a superuser: no wall would hold it', brand_role;
    end if;
    execute format('alter role %I login', brand_role);
    if brand_password <> '' then
        execute format('alter role %I password %L', brand_role, brand_password);
    end if;
    execute format('alter role %I set search_path = %I, extensions', brand_role, brand_role);

    -- Being "public" gives no access and no right to create anything.
    execute format('revoke all on database %I from public', current_database());
    execute format('grant connect, temporary on database %I to %I', current_database(), brand_role);
    revoke create on schema public from public;

    create schema if not exists extensions;
    execute format('grant usage on schema extensions to %I', brand_role);

    -- An administrator without superuser rights can give a schema only to a role that it is a member of.
    if not (select rolsuper from pg_roles where rolname = current_user) then
        execute format('grant %I to current_user', brand_role);
    end if;
    execute format('create schema if not exists %I authorization %I', brand_role, brand_role);
    execute format('revoke all on schema %I from public', brand_role);
end $$;
