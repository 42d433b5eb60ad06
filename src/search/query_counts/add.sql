-- Adds the counts of a batch ($1 days, $2 queries, $3 searches, $4 those that found nothing). A day has at most $5 queries: of the
-- others, the most frequent are taken while there is room.
with counted as (
    select c.day, c.query, c.searches, c.found_nothing, k.query is not null as is_known
    from unnest($1::date[], $2::text[], $3::bigint[], $4::bigint[]) c (day, query, searches, found_nothing)
    left join search_query_count k using (day, query)
),
of_day as (
    select day, count(*) as queries from search_query_count where day = any ($1) group by day
),
placed as (
    select c.*,
           c.is_known or coalesce(d.queries, 0)
               + row_number() over (partition by c.day, c.is_known order by c.searches desc, c.query) <= $5::bigint as has_room
    from counted c left join of_day d using (day)
),
added as (
    insert into search_query_count as q (day, query, searches, found_nothing)
    -- In one order, so that instances that add the same queries wait for each other without a deadlock.
    select day, query, searches, found_nothing from placed where has_room order by day, query
    on conflict (day, query) do update
        set searches = q.searches + excluded.searches, found_nothing = q.found_nothing + excluded.found_nothing
)
select coalesce(sum(searches), 0)::bigint as uncounted from placed where not has_room
