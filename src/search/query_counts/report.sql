-- The queries since the day $1 that are among the $2 most frequent of their day, or the $2 that most often found nothing.
select day, query, searches, found_nothing, place, unsuccessful_place, day_searches, day_found_nothing, day_queries
from (
    select day, query, searches, found_nothing,
           row_number() over (partition by day order by searches desc, query) as place,
           row_number() over (partition by day order by found_nothing desc, query) as unsuccessful_place,
           sum(searches) over (partition by day)::bigint as day_searches,
           sum(found_nothing) over (partition by day)::bigint as day_found_nothing,
           count(*) over (partition by day) as day_queries
    from search_query_count
    where day >= $1
) q
where place <= $2 or (found_nothing > 0 and unsuccessful_place <= $2)
order by day desc, place
