-- The path of a category and whether it is shown follow from its parents. $1: at most so many rows.
with recursive tree as (
    select category_id, array[category_id] as path, visible as shown from category where parent_id is null
    union all
    select c.category_id, t.path || c.category_id, t.shown and c.visible
    from category c join tree t on c.parent_id = t.category_id
)
select case when t.category_id is null then format('category %s is not below a top-level category', c.category_id)
            else format('category %s has the path %s and shown = %s, and its parents give %s and %s',
                        c.category_id, c.path, c.shown, t.path, t.shown) end
from category c left join tree t using (category_id)
where (c.path, c.shown) is distinct from (t.path, t.shown)
order by c.category_id limit $1
